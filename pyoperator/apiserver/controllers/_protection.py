"""Volumes in use stay: a deleted claim goes when no pod uses it, a deleted volume when no claim is bound to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.controllers._engine import Context, Controller
from pyoperator.apiserver.controllers._kinds import CLAIM, POD, VOLUME
from pyoperator.apiserver.controllers._workloads import is_finished, is_terminating

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent
    from pyoperator.apiserver.controllers._object import Object
    from pyoperator.objects import GroupVersionKind

_CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
_VOLUME_FINALIZER = "kubernetes.io/pv-protection"


class ProtectionController(Controller):
    """Remove the protection finalizers of what is being deleted. A key is (namespace, claim) or ("", volume)."""

    name = "volume-protection"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._waiting: dict[tuple[str, str], None] = {}  # in the order in which they came

    def begin(self) -> None:
        for gvk in (CLAIM, VOLUME):
            for obj in self.client.list(gvk):
                self._note(obj)

    def observe(self, event: StoreEvent) -> None:
        if event.gvk in (CLAIM, VOLUME):
            if event.new is None:
                self._waiting.pop((event.namespace, event.name), None)
            else:
                self._note(event.new)
            if event.gvk == CLAIM and self._waiting:
                for key in [key for key in self._waiting if not key[0]]:
                    self.enqueue(key)
        elif event.gvk == POD and self._waiting and (event.new is None or is_finished(event.new)):
            for key in [key for key in self._waiting if key[0] == event.namespace]:
                self.enqueue(key)

    def _note(self, obj: Object) -> None:
        if is_terminating(obj):
            key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            self._waiting[key] = None
            self.enqueue(key)

    def sync(self, key: tuple[str, str]) -> float | None:
        namespace, name = key
        if namespace:
            if not self._is_mounted(namespace, name):
                self._release(CLAIM, namespace, name, _CLAIM_FINALIZER)
        elif not self._is_bound(name):
            self._release(VOLUME, "", name, _VOLUME_FINALIZER)
        return None

    def _is_mounted(self, namespace: str, name: str) -> bool:
        return any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == name
            for pod in self.client.list(POD, namespace)
            if not is_finished(pod)
            for volume in pod["spec"].get("volumes") or ()
        )

    def _is_bound(self, name: str) -> bool:
        volume = self.client.get(VOLUME, "", name)
        reference = ((volume or {}).get("spec") or {}).get("claimRef")
        if not reference:
            return False
        claim = self.client.get(CLAIM, reference.get("namespace", ""), reference.get("name", ""))
        return claim is not None and claim["metadata"]["uid"] == reference.get("uid")

    def _release(self, gvk: GroupVersionKind, namespace: str, name: str, finalizer: str) -> None:
        obj = self.client.get(gvk, namespace, name)
        if obj is None or not is_terminating(obj) or finalizer not in (obj["metadata"].get("finalizers") or ()):
            return
        obj["metadata"]["finalizers"] = [entry for entry in obj["metadata"]["finalizers"] if entry != finalizer]
        self.client.update(obj)
