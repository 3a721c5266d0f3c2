"""What can be wrong with a read of the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.client import NotFound, Status

if TYPE_CHECKING:
    from pyoperator.objects import ObjectKey, ResourceKind


class NoInformer(LookupError):
    """The cache holds no copy of this kind (or of this namespace of it); the message says how to get one."""


class NotSynced(RuntimeError):
    """The cache has not seen all objects of this kind yet, so it cannot say that one does not exist."""


class CacheNotReady(RuntimeError):
    """Raised by the readiness check: which informers are not fresh, and why."""


class NoIndex(LookupError):
    """A read asks for an index that its kind does not have; the message says which there are and how to add one."""


class SelectorError(ValueError):
    """A selector does not parse; the message says where and what was expected."""


def not_found(resource: ResourceKind, key: ObjectKey) -> NotFound:
    """Build the error a server would answer, so that a caller cannot tell a cached read from a live one."""
    gvk = resource.gvk
    name = f"{resource.plural}.{gvk.group}" if gvk.group else resource.plural
    details = {"name": key.name, "kind": resource.plural}
    if gvk.group:
        details["group"] = gvk.group
    return NotFound(Status(404, "NotFound", f'{name} "{key.name}" not found', details))
