"""The server's own hands: object operations for controllers and fixtures, with no HTTP and no access check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver._caller import Caller
from pyoperator.apiserver._operations import DeleteOptions, WriteOptions
from pyoperator.apiserver._status import StatusError, not_found
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.apiserver._operations import Operations
    from pyoperator.apiserver.registry import Kind, Registry
    from pyoperator.apiserver.storage import Change, Store, StoredObject


class StoreEvent:
    """One committed change, told to subscribers right after the commit, in order.

    ``type`` is ADDED, MODIFIED or DELETED; ``gvk`` the storage kind; ``old`` and ``new`` are decoded when first read,
    fresh dicts of this event (``new`` of a deletion is None); ``version`` the store's revision of this change.
    """

    __slots__ = ("_change", "_new", "_old", "gvk", "type", "version")

    def __init__(self, change: Change, gvk: GroupVersionKind) -> None:
        self._change = change
        self.gvk: GroupVersionKind = gvk
        self.type: str = change.type
        self.version: int = change.revision
        self._old: dict[str, Any] | None = None
        self._new: dict[str, Any] | None = None

    @property
    def namespace(self) -> str:
        return self._change.new.namespace

    @property
    def name(self) -> str:
        return self._change.new.name

    @property
    def uid(self) -> str:
        return self._change.new.uid

    @property
    def old(self) -> dict[str, Any] | None:
        if self._old is None and self._change.old is not None:
            self._old = self._change.old.decode()
        return self._old

    @property
    def new(self) -> dict[str, Any] | None:
        if self._new is None and self.type != "DELETED":
            self._new = self._change.new.decode()
        return self._new

    def __repr__(self) -> str:
        return f"StoreEvent({self.type} {self.gvk.kind} {self.namespace}/{self.name} v{self.version})"


class SystemClient:
    """Read and write objects as the server itself: synchronous, on dicts, past authorization and audit.

    Every answer is a fresh dict. Raises StatusError(code, reason, message, details) as a client would be answered.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        operations: Operations,
        *,
        after_write: Callable[[], None],
        name: str = "system:apiserver",
    ) -> None:
        self._store = store
        self._after_write = after_write
        self._registry = registry
        self._operations = operations
        self._caller = Caller(name=name, groups=("system:masters", "system:authenticated"), system=True)

    def as_user(self, name: str) -> SystemClient:
        """Return a client that acts under another name (a controller's service account)."""
        return SystemClient(self._store, self._registry, self._operations, after_write=self._after_write, name=name)

    def _kind(self, gvk: GroupVersionKind) -> Kind:
        kind = self._registry.by_gvk(gvk)
        if kind is None:
            raise StatusError(404, "NotFound", f"the server could not find the requested resource ({gvk})")
        return kind

    def kinds(self) -> list[tuple[GroupVersionKind, bool]]:
        """Return each kind that stores objects, once (in its storage version), and whether it is namespaced."""
        return [
            (kind.gvk, kind.namespaced)
            for kind in self._registry.kinds()
            if "list" in kind.verbs
            and (kind.gvk.group, kind.plural) == kind.storage
            and kind.gvk.version == kind.storage_version
        ]

    def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> dict[str, Any] | None:
        """Return the object, or None."""
        kind = self._registry.by_gvk(gvk)
        stored = None if kind is None else self._operations.find(kind, namespace, name)
        return None if kind is None or stored is None else self._operations.view(kind, stored)

    def list(self, gvk: GroupVersionKind, namespace: str = "") -> list[dict[str, Any]]:
        """Return the objects of one namespace, or of all; an unknown kind has none."""
        kind = self._registry.by_gvk(gvk)
        if kind is None:
            return []
        return [self._operations.view(kind, stored) for stored in self._operations.stored(kind, namespace)]

    def create(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Create the object that the dict describes (apiVersion, kind, metadata.namespace and so on)."""
        kind = self._kind(_gvk(obj))
        namespace = (obj.get("metadata") or {}).get("namespace", "")
        stored = self._operations.create(kind, namespace, _copy(obj), WriteOptions(caller=self._caller))
        return self._written(kind, stored)

    def update(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Replace the object; with a resourceVersion in it only if that is still the current one."""
        return self._update(obj, "")

    def update_status(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Replace only the status, as the status subresource does."""
        return self._update(obj, "status")

    def finalize(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Replace only ``spec.finalizers`` of a Namespace; the last one gone, a terminating namespace is removed."""
        return self._update(obj, "finalize")

    def _update(self, obj: dict[str, Any], subresource: str) -> dict[str, Any]:
        kind = self._kind(_gvk(obj))
        metadata = obj.get("metadata") or {}
        stored, _ = self._operations.update(
            kind,
            metadata.get("namespace", ""),
            metadata.get("name", ""),
            _copy(obj),
            WriteOptions(caller=self._caller),
            subresource=subresource,
        )
        return self._written(kind, stored)

    def delete(
        self,
        gvk: GroupVersionKind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
        grace: int | None = None,
    ) -> None:
        """Delete as a client would: finalizers and grace periods hold; raises StatusError 404 when there is none.

        ``propagation`` is Background, Foreground or Orphan; ``grace`` in seconds (0 removes a Pod at once).
        """
        kind = self._registry.by_gvk(gvk)
        if kind is None:
            raise not_found(gvk.group, gvk.kind.lower(), name)
        options = DeleteOptions(
            propagation_policy=propagation, grace_period_seconds=grace, precondition_uid=uid, caller=self._caller
        )
        self._operations.delete(kind, namespace, name, options)
        self._after_write()

    def subscribe(self, callback: Callable[[StoreEvent], None]) -> Callable[[], None]:
        """Call back after every commit, synchronously and in order; returns the function that ends it.

        A callback must only take note (put a key in a queue): writing from inside it would nest commits.
        """

        def deliver(change: Change) -> None:
            callback(StoreEvent(change, change.new.gvk))

        return self._store.subscribe(deliver)

    def _written(self, kind: Kind, stored: StoredObject) -> dict[str, Any]:
        self._after_write()
        return self._operations.view(kind, stored)

    def __repr__(self) -> str:
        return f"SystemClient({self._caller.name!r})"


def _copy(obj: dict[str, Any]) -> dict[str, Any]:
    # Operations change what they are given; the caller's dict stays his.
    copied: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(obj))
    return copied


def _gvk(obj: dict[str, Any]) -> GroupVersionKind:
    return GroupVersionKind.of(obj.get("apiVersion", ""), obj.get("kind", ""))
