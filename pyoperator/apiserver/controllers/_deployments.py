"""Deployments: a ReplicaSet per template, moved from the old ones to the new one within the allowed surge and loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.controllers._engine import Controller
from pyoperator.apiserver.controllers._kinds import DEPLOYMENT, POD, REPLICA_SET
from pyoperator.apiserver.controllers._object import Object, controller_reference, copied
from pyoperator.apiserver.controllers._workloads import (
    is_terminating,
    owner_reference,
    set_conditions,
    share,
    template_hash,
    write_status,
)
from pyoperator.objects import format_time

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent

_HASH = "pod-template-hash"
_REVISION = "deployment.kubernetes.io/revision"


class DeploymentController(Controller):
    """Move each deployment's ReplicaSets one step at a time. A key is (namespace, name)."""

    name = "deployment-simulator"

    def begin(self) -> None:
        for found in self.view.all(DEPLOYMENT):
            self.enqueue((found["metadata"]["namespace"], found["metadata"]["name"]))

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == DEPLOYMENT and event.new is not None:
            self.enqueue((event.namespace, event.name))
        elif event.gvk == REPLICA_SET:
            owner = controller_reference(event.new or event.old or {"metadata": {}})
            if owner is not None and owner["kind"] == "Deployment":
                self.enqueue((event.namespace, owner["name"]))
        elif event.gvk == POD and event.type == "DELETED":
            # Recreate waits until the last old pod is gone, which its ReplicaSet's status does not tell.
            owner = controller_reference(event.old or {"metadata": {}})
            replica_set = self.view.get(REPLICA_SET, event.namespace, owner["name"]) if owner is not None else None
            above = controller_reference(replica_set) if replica_set is not None else None
            if above is not None:
                self.enqueue((event.namespace, above["name"]))

    def sync(self, key: tuple[str, str]) -> float | None:
        found = self.view.get(DEPLOYMENT, *key)
        if found is None or is_terminating(found):
            return None
        label = template_hash(found["spec"]["template"])
        if found["spec"].get("paused"):
            self._write_status(found, label)
            return None
        new = self._ensure_new(found, label)
        old = [other for other in self.view.owned(REPLICA_SET, found) if other["metadata"]["name"] != new]
        if (found["spec"].get("strategy") or {}).get("type") == "Recreate":
            self._recreate(found, new, old)
        else:
            self._roll(found, new, old)
        self._trim(found, new)
        self._write_status(found, label)
        return None

    def _ensure_new(self, owner: Object, label: str) -> str:
        metadata, template = owner["metadata"], owner["spec"]["template"]
        name = f"{metadata['name']}-{label}"
        revisions = [
            int((other["metadata"].get("annotations") or {}).get(_REVISION) or 0)
            for other in self.view.owned(REPLICA_SET, owner)
            if other["metadata"]["name"] != name
        ]
        existing = self.view.get(REPLICA_SET, metadata["namespace"], name)
        if existing is None:
            labels = {**((template.get("metadata") or {}).get("labels") or {}), _HASH: label}
            made = copied(template)
            made.setdefault("metadata", {})["labels"] = labels
            selector = copied(owner["spec"]["selector"])
            selector["matchLabels"] = {**(selector.get("matchLabels") or {}), _HASH: label}
            revision = str(max(revisions, default=0) + 1)
            self.client.create(
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "metadata": {
                        "name": name,
                        "namespace": metadata["namespace"],
                        "labels": labels,
                        "annotations": {_REVISION: revision},
                        "ownerReferences": [owner_reference(owner)],
                    },
                    "spec": {
                        "replicas": 0,
                        "selector": selector,
                        "template": made,
                        **(
                            {"minReadySeconds": owner["spec"]["minReadySeconds"]}
                            if owner["spec"].get("minReadySeconds")
                            else {}
                        ),
                    },
                }
            )
        else:
            revision = (existing["metadata"].get("annotations") or {}).get(_REVISION, "0")
            if revisions and int(revision) < max(revisions):
                revision = str(max(revisions) + 1)  # rolled back: the old template is the newest again
                changed = copied(existing)
                changed["metadata"].setdefault("annotations", {})[_REVISION] = revision
                self.client.update(changed)
        current = self.client.get(DEPLOYMENT, metadata["namespace"], metadata["name"])
        if current is not None and (current["metadata"].get("annotations") or {}).get(_REVISION) != revision:
            current["metadata"].setdefault("annotations", {})[_REVISION] = revision
            self.client.update(current)
        return name

    def _scale(self, replica_set: Object, replicas: int) -> None:
        current = self.client.get(REPLICA_SET, replica_set["metadata"]["namespace"], replica_set["metadata"]["name"])
        if current is not None and current["spec"].get("replicas", 1) != replicas:
            current["spec"]["replicas"] = replicas
            self.client.update(current)

    def _roll(self, owner: Object, new_name: str, old: list[Object]) -> None:
        wanted = owner["spec"].get("replicas", 1)
        parameters = (owner["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        surge = share(parameters.get("maxSurge", "25%"), wanted, up=True)
        loss = share(parameters.get("maxUnavailable", "25%"), wanted, up=False)
        if not surge and not loss:
            loss = 1
        new = self.view.get(REPLICA_SET, owner["metadata"]["namespace"], new_name)
        if new is None:
            return
        # What is still there counts, not only what is wanted: a set may not have deleted its pods yet.
        old_total = sum(max(_size(other), _replicas(other)) for other in old)
        if _size(new) > wanted:
            self._scale(new, wanted)
        elif _size(new) < wanted:
            self._scale(new, min(wanted, max(_size(new), wanted + surge - old_total)))
        new = self.view.get(REPLICA_SET, owner["metadata"]["namespace"], new_name) or new
        available = sum(_available(other) for other in (*old, new))
        # Old pods that are not available go first: they serve nobody.
        for other in old:
            broken = _size(other) - _available(other)
            if broken > 0:
                self._scale(other, _size(other) - broken)
        removable = available - (wanted - loss)
        for other in old:
            if removable <= 0:
                return
            current = self.view.get(REPLICA_SET, other["metadata"]["namespace"], other["metadata"]["name"]) or other
            step = min(removable, _size(current))
            if step:
                self._scale(current, _size(current) - step)
                removable -= step

    def _recreate(self, owner: Object, new_name: str, old: list[Object]) -> None:
        for other in old:
            self._scale(other, 0)
        if any(self.view.owned(POD, other) for other in old):
            return
        new = self.view.get(REPLICA_SET, owner["metadata"]["namespace"], new_name)
        if new is not None:
            self._scale(new, owner["spec"].get("replicas", 1))

    def _trim(self, owner: Object, new_name: str) -> None:
        limit = owner["spec"].get("revisionHistoryLimit")
        idle = sorted(
            (
                other
                for other in self.view.owned(REPLICA_SET, owner)
                if other["metadata"]["name"] != new_name
                and not _size(other)
                and not (other.get("status") or {}).get("replicas")
                and not is_terminating(other)
            ),
            key=lambda other: int((other["metadata"].get("annotations") or {}).get(_REVISION) or 0),
        )
        for other in idle[: max(len(idle) - (10 if limit is None else limit), 0)]:
            metadata = other["metadata"]
            self.client.delete(REPLICA_SET, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    def _write_status(self, owner: Object, label: str) -> None:
        owner = self.view.get(DEPLOYMENT, owner["metadata"]["namespace"], owner["metadata"]["name"]) or owner
        sets = self.view.owned(REPLICA_SET, owner)
        new = [found for found in sets if found["metadata"]["name"] == f"{owner['metadata']['name']}-{label}"]
        wanted = owner["spec"].get("replicas", 1)
        replicas, available = sum(map(_replicas, sets)), sum(map(_available, sets))
        updated = sum(map(_replicas, new))
        counts = {
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": sum((found.get("status") or {}).get("readyReplicas", 0) for found in sets),
            "availableReplicas": available,
            "unavailableReplicas": max(wanted - available, 0),
        }
        now = self.context.clock.wall()
        status: Object = {
            "observedGeneration": owner["metadata"].get("generation", 1),
            **{field: count for field, count in counts.items() if count},
        }
        before = (owner.get("status") or {}).get("conditions")
        if before:
            status["conditions"] = copied({"c": before})["c"]
        parameters = (owner["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        loss = share(parameters.get("maxUnavailable", "25%"), wanted, up=False)
        complete = updated == wanted and replicas == wanted and available >= wanted
        set_conditions(status, _conditions(owner, label, complete, available >= wanted - loss), now)
        for condition in status["conditions"]:
            condition.setdefault("lastUpdateTime", condition["lastTransitionTime"])
        if not complete and before:
            old = {condition["type"]: condition for condition in before}
            for condition in status["conditions"]:
                if condition["type"] == "Progressing" and condition["reason"] != old.get("Progressing", {}).get(
                    "reason"
                ):
                    condition["lastUpdateTime"] = format_time(now)
        write_status(self.client, owner, status)


def _conditions(owner: Object, label: str, complete: bool, available: bool) -> list[Object]:
    name = f"{owner['metadata']['name']}-{label}"
    return [
        {
            "type": "Available",
            "status": "True" if available else "False",
            "reason": "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
            "message": f"Deployment {'has' if available else 'does not have'} minimum availability.",
        },
        {
            "type": "Progressing",
            "status": "True",
            "reason": "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated",
            "message": f'ReplicaSet "{name}" {"has successfully progressed" if complete else "is progressing"}.',
        },
    ]


def _size(replica_set: Object) -> int:
    return int(replica_set["spec"].get("replicas", 1))


def _replicas(replica_set: Object) -> int:
    return int((replica_set.get("status") or {}).get("replicas", 0))


def _available(replica_set: Object) -> int:
    """Return how many pods surely stay available: a status may still count those that a smaller size takes away."""
    return min(int((replica_set.get("status") or {}).get("availableReplicas", 0)), _size(replica_set))
