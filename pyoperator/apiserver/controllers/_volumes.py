"""Volumes: claims get a volume of the asked size, and grow with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.controllers._engine import Context, Controller, Delays
from pyoperator.apiserver.controllers._kinds import CLAIM, STORAGE_CLASS, VOLUME
from pyoperator.apiserver.controllers._object import Object, copied
from pyoperator.apiserver.controllers._workloads import SimulationOptions, condition_of, is_terminating, set_conditions
from pyoperator.objects import Quantity

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


class VolumeController(Controller):
    """Provision, bind, expand and reclaim. A key is (namespace, claim), or ("", volume) for a volume to reclaim."""

    name = "volume-simulator"

    def __init__(self, context: Context, options: SimulationOptions) -> None:
        super().__init__(context)
        self._options = options
        self._delays = Delays(context)

    def begin(self) -> None:
        for claim in self.view.all(CLAIM):
            self.enqueue((claim["metadata"]["namespace"], claim["metadata"]["name"]))
        for volume in self.view.all(VOLUME):
            self.enqueue(("", volume["metadata"]["name"]))

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == CLAIM:
            if event.new is not None:
                self.enqueue((event.namespace, event.name))
            else:
                self._delays.forget(event.uid)
                volume = ((event.old or {}).get("spec") or {}).get("volumeName")
                if volume:
                    self.enqueue(("", volume))
        elif event.gvk == STORAGE_CLASS:
            for claim in self.view.all(CLAIM):
                self.enqueue((claim["metadata"]["namespace"], claim["metadata"]["name"]))

    def sync(self, key: tuple[str, str]) -> float | None:
        namespace, name = key
        if not namespace:
            self._reclaim(name)
            return None
        claim = self.view.get(CLAIM, namespace, name)
        if claim is None or is_terminating(claim):
            return None
        if not (claim.get("spec") or {}).get("volumeName") or (claim.get("status") or {}).get("phase") != "Bound":
            return self._delays.after(claim["metadata"]["uid"], "bind", self._options.bind, lambda: self._bind(claim))
        if self._wants_more(claim):
            if condition_of(claim, "Resizing") is None:
                self._begin_expansion(claim)
            return self._delays.after(
                claim["metadata"]["uid"], "expand", self._options.expand, lambda: self._expand(claim)
            )
        return None

    def _class_of(self, claim: Object) -> Object | None:
        wanted = claim["spec"].get("storageClassName")
        if wanted is not None:
            return self.view.get(STORAGE_CLASS, "", wanted)
        for found in self.view.all(STORAGE_CLASS):
            if (found["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true":
                return found
        return None

    def _bind(self, claim: Object) -> None:
        storage_class = self._class_of(claim)
        if storage_class is None:
            return  # stays Pending until the class appears
        metadata, spec = claim["metadata"], claim["spec"]
        class_name, volume_name = storage_class["metadata"]["name"], f"pvc-{metadata['uid']}"
        size = _requested(claim)
        modes = spec.get("accessModes") or ["ReadWriteOnce"]
        if self.view.get(VOLUME, "", volume_name) is None:
            self.client.create(
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolume",
                    "metadata": {
                        "name": volume_name,
                        "annotations": {_PROVISIONED_BY: storage_class["provisioner"]},
                    },
                    "spec": {
                        "capacity": {"storage": size},
                        "accessModes": modes,
                        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
                        "storageClassName": class_name,
                        "volumeMode": spec.get("volumeMode", "Filesystem"),
                        "hostPath": {"path": f"/simulated/{volume_name}"},
                        "claimRef": {
                            "apiVersion": "v1",
                            "kind": "PersistentVolumeClaim",
                            "namespace": metadata["namespace"],
                            "name": metadata["name"],
                            "uid": metadata["uid"],
                        },
                    },
                }
            )
        self._set_volume_phase(volume_name, "Bound")
        made = copied(claim)
        if spec.get("volumeName") != volume_name or spec.get("storageClassName") is None:
            made["spec"].update(volumeName=volume_name, storageClassName=class_name)
            made["metadata"].setdefault("annotations", {}).update(
                {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
            )
            made = self.client.update(made)
        made["status"] = {"phase": "Bound", "accessModes": modes, "capacity": {"storage": size}}
        self.client.update_status(made)

    def _set_volume_phase(self, name: str, phase: str) -> None:
        volume = self.client.get(VOLUME, "", name)
        if volume is not None and (volume.get("status") or {}).get("phase") != phase:
            volume["status"] = {**(volume.get("status") or {}), "phase": phase}
            self.client.update_status(volume)

    def _wants_more(self, claim: Object) -> bool:
        has = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
        storage_class = self._class_of(claim)
        return (
            has is not None
            and storage_class is not None
            and bool(storage_class.get("allowVolumeExpansion"))
            and Quantity(_requested(claim)) > Quantity(has)
        )

    def _begin_expansion(self, claim: Object) -> None:
        made = copied(claim)
        set_conditions(made["status"], [{"type": "Resizing", "status": "True"}], self.context.clock.wall())
        made["status"]["allocatedResources"] = {"storage": _requested(claim)}
        made["status"]["allocatedResourceStatuses"] = {"storage": "ControllerResizeInProgress"}
        self.client.update_status(made)

    def _expand(self, claim: Object) -> None:
        size = _requested(claim)
        volume = self.client.get(VOLUME, "", claim["spec"]["volumeName"])
        if volume is not None and volume["spec"]["capacity"].get("storage") != size:
            volume["spec"]["capacity"]["storage"] = size
            self.client.update(volume)
        made = copied(claim)
        status = made["status"]
        status["capacity"] = {**status.get("capacity", {}), "storage": size}
        status["conditions"] = [
            entry
            for entry in status.get("conditions") or ()
            if entry["type"] not in ("Resizing", "FileSystemResizePending")
        ]
        if not status["conditions"]:
            del status["conditions"]
        status.pop("allocatedResourceStatuses", None)
        self.client.update_status(made)

    def _reclaim(self, name: str) -> None:
        volume = self.view.get(VOLUME, "", name)
        if volume is None or is_terminating(volume):
            return
        reference = volume["spec"].get("claimRef")
        if reference is None:
            return
        claim = self.view.get(CLAIM, reference["namespace"], reference["name"])
        if claim is not None and claim["metadata"]["uid"] == reference.get("uid"):
            return
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            self.client.delete(VOLUME, "", name, uid=volume["metadata"]["uid"])
        else:
            self._set_volume_phase(name, "Released")


def _requested(claim: Object) -> str:
    return str(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "1Gi"))
