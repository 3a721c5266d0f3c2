"""Owner references: who made an object, and who manages it (``controllerutil`` in Go)."""

from __future__ import annotations

from typing import Any

from pyoperator.objects._metadata import OwnerReference
from pyoperator.objects._shapes import kind_of, metadata_of, put_owner_reference


class AlreadyOwnedError(RuntimeError):
    """The object already has another controller; two controllers on one object would fight."""

    def __init__(self, key: object, current: OwnerReference) -> None:
        super().__init__(
            f"{key} is already controlled by {current.kind} {current.name!r} (uid {current.uid}): "
            "an object has one controller; use set_owner_reference, or another name for the object"
        )
        self.current = current


def controller_of(obj: Any) -> OwnerReference | None:
    """Return the owner reference that has ``controller: true``, if any."""
    return metadata_of(obj).controller


def is_owned_by(obj: Any, owner: Any) -> bool:
    """Tell whether ``owner`` (by uid) is among the object's owners."""
    uid = metadata_of(owner).uid
    return any(reference.uid == uid for reference in metadata_of(obj).owner_references)


def set_controller_reference(owner: Any, obj: Any, *, block_owner_deletion: bool = True) -> None:
    """Make ``owner`` the controller of ``obj`` in memory, both of any shape that has a codec.

    The object's ``metadata`` is replaced, not edited: what was copied from it before stays as it was. Raises
    AlreadyOwnedError if another object controls it, ValueError for an owner without a uid or in another namespace (owners
    must be cluster-scoped or in the same namespace: the garbage collector would delete the object), or that does not say
    its kind.
    """
    current = controller_of(obj)
    if current is not None and current.uid != metadata_of(owner).uid:
        raise AlreadyOwnedError(metadata_of(obj).key, current)
    _upsert(owner, obj, controller=True, block=block_owner_deletion)


def set_owner_reference(owner: Any, obj: Any, *, block_owner_deletion: bool = False) -> None:
    """Make ``owner`` one of the owners of ``obj`` in memory, without control; errors as above."""
    _upsert(owner, obj, controller=False, block=block_owner_deletion)


def _upsert(owner: Any, obj: Any, *, controller: bool, block: bool) -> None:
    owner_meta, meta = metadata_of(owner), metadata_of(obj)
    if not owner_meta.uid:
        raise ValueError(f"owner {owner_meta.key} has no uid: read it from the server before it owns anything")
    if owner_meta.namespace and owner_meta.namespace != meta.namespace:
        raise ValueError(
            f"owner {owner_meta.key} cannot own {meta.key}: a namespaced owner owns only in its own namespace"
        )
    gvk = kind_of(owner)
    reference = OwnerReference(
        api_version=gvk.api_version,
        kind=gvk.kind,
        name=owner_meta.name,
        uid=owner_meta.uid,
        controller=controller,
        block_owner_deletion=block,
    )
    put_owner_reference(obj, reference)
