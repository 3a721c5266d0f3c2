"""What the controllers need of the server: the shape of its ``SystemClient`` and of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyoperator.apiserver.controllers._object import Object
    from pyoperator.objects import GroupVersionKind


class StoreEvent(Protocol):
    """One committed change. ``old`` and ``new`` are shared by all observers: read only."""

    @property
    def type(self) -> str: ...
    @property
    def gvk(self) -> GroupVersionKind: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def old(self) -> Object | None: ...
    @property
    def new(self) -> Object | None: ...


class ControllerClient(Protocol):
    """Object operations past authorization; errors are the server's StatusError."""

    def kinds(self) -> Iterable[tuple[GroupVersionKind, bool]]:
        """Yield every kind that stores objects, once, with whether it is namespaced."""
        ...

    def get(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object | None: ...
    def list(self, gvk: GroupVersionKind, namespace: str = "") -> list[Object]: ...
    def create(self, obj: Object) -> Object: ...
    def update(self, obj: Object) -> Object: ...
    def update_status(self, obj: Object) -> Object: ...
    def finalize(self, obj: Object) -> Object: ...
    def delete(
        self,
        gvk: GroupVersionKind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
        grace: int | None = None,
    ) -> None: ...
    def subscribe(self, callback: Callable[[StoreEvent], None]) -> Callable[[], None]: ...
