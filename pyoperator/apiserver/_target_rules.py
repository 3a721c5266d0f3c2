"""Whether a URL and a verb go with the kind that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver import _status

if TYPE_CHECKING:
    from pyoperator.apiserver._paths import Target
    from pyoperator.apiserver.registry import Kind


def is_allowed(kind: Kind, target: Target) -> bool:
    """Tell whether a collection or an object, as the URL has it, knows the verb."""
    if target.verb not in kind.verbs:
        return False
    match target.verb:
        case "create":
            return not target.name
        case "update" | "patch":
            return bool(target.name)
        case "deletecollection":
            return bool(target.namespace) or not kind.namespaced
    return True


def check_scope(kind: Kind, target: Target) -> None:
    """Answer 404 for a namespaced object without its namespace, and for a cluster object inside one."""
    inside_itself = kind.storage == ("", "namespaces")
    if kind.namespaced:
        needs = bool(target.subresource) or target.verb in {"get", "create", "update", "patch", "delete"}
        if not target.namespace and needs:
            if target.verb == "create" and not target.name and not kind.custom:
                raise _status.method_not_allowed()
            raise _status.PlainAnswer.page_not_found() if kind.custom else _status.unknown_resource()
    elif target.namespace and not inside_itself:
        raise _status.PlainAnswer.page_not_found() if kind.custom else _status.unknown_resource()
