"""StatefulSets: pods with names and claims that stay, made in order, updated from the highest ordinal down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.controllers._engine import Controller
from pyoperator.apiserver.controllers._kinds import CLAIM, CONTROLLER_REVISION, POD, STATEFUL_SET
from pyoperator.apiserver.controllers._object import Object, controller_reference, controller_uid, copied
from pyoperator.apiserver.controllers._workloads import (
    is_finished,
    is_ready,
    is_terminating,
    owner_reference,
    pod_from_template,
    seconds_until_available,
    template_hash,
    write_status,
)

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent

_REVISION = "controller-revision-hash"


class StatefulSetController(Controller):
    """Keep each set's pods and claims. A key is (namespace, name)."""

    name = "statefulset-simulator"

    def begin(self) -> None:
        for found in self.view.all(STATEFUL_SET):
            self.enqueue((found["metadata"]["namespace"], found["metadata"]["name"]))

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == STATEFUL_SET and event.new is not None:
            self.enqueue((event.namespace, event.name))
        elif event.gvk == POD:
            owner = controller_reference(event.new or event.old or {"metadata": {}})
            if owner is not None and owner["kind"] == "StatefulSet":
                self.enqueue((event.namespace, owner["name"]))

    def sync(self, key: tuple[str, str]) -> float | None:
        found = self.view.get(STATEFUL_SET, *key)
        if found is None or is_terminating(found):
            return None
        update = self._ensure_revision(found)
        current = (found.get("status") or {}).get("currentRevision") or update
        self._act(found, current, update)
        again = self._write_status(found, current, update)
        self._trim_revisions(found, {current, update})
        return again

    # Revisions: a template by its hash, kept as objects so that a pod below the partition can be made again.

    def _ensure_revision(self, owner: Object) -> str:
        metadata, template = owner["metadata"], owner["spec"]["template"]
        label = template_hash(template)
        name = f"{metadata['name']}-{label}"
        revisions = self.view.owned(CONTROLLER_REVISION, owner)
        latest = max((revision["revision"] for revision in revisions), default=0)
        existing = self.view.get(CONTROLLER_REVISION, metadata["namespace"], name)
        if existing is None:
            labels = {**((owner["spec"].get("selector") or {}).get("matchLabels") or {}), _REVISION: name}
            self.client.create(
                {
                    "apiVersion": "apps/v1",
                    "kind": "ControllerRevision",
                    "metadata": {
                        "name": name,
                        "namespace": metadata["namespace"],
                        "labels": labels,
                        "ownerReferences": [owner_reference(owner)],
                    },
                    "data": {"spec": {"template": {**copied(template), "$patch": "replace"}}},
                    "revision": latest + 1,
                }
            )
        elif existing["revision"] < latest:
            self.client.update({**copied(existing), "revision": latest + 1})  # rolled back to an older template
        return name

    def _trim_revisions(self, owner: Object, live: set[str]) -> None:
        limit = owner["spec"].get("revisionHistoryLimit")
        used = {pod["metadata"]["labels"].get(_REVISION) for pod in self.view.owned(POD, owner)} | live
        old = sorted(
            (
                revision
                for revision in self.view.owned(CONTROLLER_REVISION, owner)
                if revision["metadata"]["name"] not in used
            ),
            key=lambda revision: int(revision["revision"]),
        )
        for revision in old[: max(len(old) - (10 if limit is None else limit), 0)]:
            metadata = revision["metadata"]
            self.client.delete(CONTROLLER_REVISION, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    def _template(self, owner: Object, revision: str) -> Object:
        stored = self.view.get(CONTROLLER_REVISION, owner["metadata"]["namespace"], revision)
        if stored is None:
            template: Object = owner["spec"]["template"]
            return template
        return {key: value for key, value in stored["data"]["spec"]["template"].items() if key != "$patch"}

    # Pods.

    def _act(self, owner: Object, current: str, update: str) -> None:
        """Take the next step: missing pods upwards, surplus ones downwards, then outdated ones downwards."""
        spec = owner["spec"]
        ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        first = (spec.get("ordinals") or {}).get("start", 0)
        wanted = range(first, first + spec.get("replicas", 1))
        partition = _partition(spec)
        pods = self._by_ordinal(owner)
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is None:
                self._create(owner, ordinal, current if ordinal < partition else update)
                if ordered:
                    return
            elif is_finished(pod) and not is_terminating(pod):
                self._delete(pod)
                if ordered:
                    return
            elif ordered and self._holds_up(owner, pod, ordinal, update):
                return
        surplus = sorted((ordinal for ordinal in pods if ordinal not in wanted), reverse=True)
        for ordinal in surplus:
            if not is_terminating(pods[ordinal]):
                self._delete(pods[ordinal])
                self._release_claims(owner, ordinal)
            if ordered:
                return
        if (spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate":
            self._roll(pods, wanted, partition, update)

    def _holds_up(self, owner: Object, pod: Object, ordinal: int, update: str) -> bool:
        """Tell whether an ordered set must wait for this pod before it does anything else.

        A running pod of an old revision that never becomes ready does not hold up its own update (in Kubernetes it
        does, its documented "forced rollback" issue, which would only make a test hang).
        """
        if is_ready(pod) and not is_terminating(pod):
            return False
        outdated = (
            not is_terminating(pod)
            and ordinal >= _partition(owner["spec"])
            and pod["metadata"]["labels"].get(_REVISION) != update
            and (pod.get("status") or {}).get("phase") == "Running"
        )
        return not outdated

    def _roll(self, pods: dict[int, Object], wanted: range, partition: int, update: str) -> None:
        for ordinal in reversed(wanted):
            if ordinal < partition:
                return
            pod = pods.get(ordinal)
            if pod is None or is_terminating(pod):
                return
            if pod["metadata"]["labels"].get(_REVISION) != update:
                self._delete(pod)
                return
            if not is_ready(pod):
                return

    def _by_ordinal(self, owner: Object) -> dict[int, Object]:
        prefix = f"{owner['metadata']['name']}-"
        found: dict[int, Object] = {}
        for pod in self.view.owned(POD, owner):
            ordinal = pod["metadata"]["name"].removeprefix(prefix)
            if ordinal.isdigit():
                found[int(ordinal)] = pod
        return found

    def _create(self, owner: Object, ordinal: int, revision: str) -> None:
        metadata, spec = owner["metadata"], owner["spec"]
        name = f"{metadata['name']}-{ordinal}"
        taken = self.view.get(POD, metadata["namespace"], name)
        if taken is not None and controller_uid(taken) != metadata["uid"]:
            return  # another owner's pod has the name; its deletion is no event of ours, so look again later
        labels = {
            "apps.kubernetes.io/pod-index": str(ordinal),
            _REVISION: revision,
            "statefulset.kubernetes.io/pod-name": name,
        }
        pod = pod_from_template(owner, self._template(owner, revision), name, labels)
        pod["spec"]["hostname"] = name
        if spec.get("serviceName"):
            pod["spec"]["subdomain"] = spec["serviceName"]
        volumes = [
            volume
            for volume in pod["spec"].get("volumes") or ()
            if volume["name"] not in {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or ()}
        ]
        for template in spec.get("volumeClaimTemplates") or ():
            claim_name = f"{template['metadata']['name']}-{name}"
            self._ensure_claim(owner, template, claim_name)
            volumes.append({"name": template["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim_name}})
        if volumes:
            pod["spec"]["volumes"] = volumes
        self.client.create(pod)

    def _ensure_claim(self, owner: Object, template: Object, name: str) -> None:
        namespace = owner["metadata"]["namespace"]
        if self.view.get(CLAIM, namespace, name) is not None:
            return
        made: dict[str, Any] = copied(template)
        metadata = made["metadata"]
        labels = {**(metadata.get("labels") or {}), **((owner["spec"].get("selector") or {}).get("matchLabels") or {})}
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": made["spec"],
        }
        if metadata.get("annotations"):
            claim["metadata"]["annotations"] = metadata["annotations"]
        if (owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}).get("whenDeleted") == "Delete":
            claim["metadata"]["ownerReferences"] = [owner_reference(owner)]
        self.client.create(claim)

    def _release_claims(self, owner: Object, ordinal: int) -> None:
        if (owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}).get("whenScaled") != "Delete":
            return
        namespace, set_name = owner["metadata"]["namespace"], owner["metadata"]["name"]
        for template in owner["spec"].get("volumeClaimTemplates") or ():
            claim = self.view.get(CLAIM, namespace, f"{template['metadata']['name']}-{set_name}-{ordinal}")
            if claim is not None and not is_terminating(claim):
                self.client.delete(CLAIM, namespace, claim["metadata"]["name"], uid=claim["metadata"]["uid"])

    def _delete(self, pod: Object) -> None:
        metadata = pod["metadata"]
        self.client.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    # Status.

    def _write_status(self, owner: Object, current: str, update: str) -> float | None:
        spec = owner["spec"]
        pods = list(self._by_ordinal(owner).values())
        live = [pod for pod in pods if not is_terminating(pod)]
        now, minimum = self.context.clock.wall(), spec.get("minReadySeconds") or 0
        waits = [seconds_until_available(pod, minimum, now) for pod in live]
        wanted = spec.get("replicas", 1)

        def of(revision: str) -> int:
            return sum(pod["metadata"]["labels"].get(_REVISION) == revision for pod in live)

        status: Object = {
            "observedGeneration": owner["metadata"].get("generation", 1),
            "replicas": len(pods),
            "readyReplicas": sum(is_ready(pod) for pod in live),
            "availableReplicas": sum(wait == 0.0 for wait in waits),
            "currentReplicas": of(current),
            "updatedReplicas": of(update),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        }
        complete = status["updatedReplicas"] == status["readyReplicas"] == status["replicas"] == wanted
        rolls = (spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
        if rolls and complete:
            status["currentRevision"], status["currentReplicas"] = update, status["updatedReplicas"]
        for field in ("readyReplicas", "currentReplicas", "updatedReplicas"):
            if not status[field]:
                del status[field]  # the original's JSON leaves zeroes out
        write_status(self.client, owner, status)
        later = [wait for wait in waits if wait]
        return min(later) if later else None


def _partition(spec: Object) -> int:
    return int(((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition") or 0)
