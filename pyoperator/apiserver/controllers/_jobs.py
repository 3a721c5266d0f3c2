"""Jobs: pods that run to their end, so many at once, until enough have succeeded or too many have failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.controllers._engine import Controller
from pyoperator.apiserver.controllers._kinds import JOB, POD
from pyoperator.apiserver.controllers._object import Object, controller_reference, copied
from pyoperator.apiserver.controllers._workloads import (
    condition_of,
    is_finished,
    is_ready,
    is_terminating,
    pod_from_template,
    random_suffix,
    set_conditions,
    write_status,
)
from pyoperator.objects import format_time, parse_time

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent


class JobController(Controller):
    """Run each job's pods. A key is (namespace, name)."""

    name = "job-simulator"

    def begin(self) -> None:
        for found in self.view.all(JOB):
            self.enqueue((found["metadata"]["namespace"], found["metadata"]["name"]))

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == JOB and event.new is not None:
            self.enqueue((event.namespace, event.name))
        elif event.gvk == POD:
            owner = controller_reference(event.new or event.old or {"metadata": {}})
            if owner is not None and owner["kind"] == "Job":
                self.enqueue((event.namespace, owner["name"]))

    def sync(self, key: tuple[str, str]) -> float | None:
        found = self.view.get(JOB, *key)
        if found is None or is_terminating(found):
            return None
        if condition_of(found, "Complete") is not None or condition_of(found, "Failed") is not None:
            return self._expire(found)
        pods = self.view.owned(POD, found)
        succeeded = sum(_phase(pod) == "Succeeded" for pod in pods)
        failed = sum(_phase(pod) == "Failed" for pod in pods)
        active = [pod for pod in pods if not is_finished(pod) and not is_terminating(pod)]
        wanted = _completions(found)
        limit = found["spec"].get("backoffLimit")
        outcome = "Complete" if succeeded >= wanted else "Failed" if failed > (6 if limit is None else limit) else ""
        if outcome or found["spec"].get("suspend"):
            for pod in active:
                metadata = pod["metadata"]
                self.client.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            active = []
        else:
            parallel = found["spec"].get("parallelism")
            room = min(1 if parallel is None else parallel, wanted - succeeded) - len(active)
            for _ in range(max(room, 0)):
                active.append(self._create(found))
        self._write_status(found, active, succeeded, failed, outcome)
        return None

    def _create(self, owner: Object) -> Object:
        metadata = owner["metadata"]
        labels = {
            "batch.kubernetes.io/controller-uid": metadata["uid"],
            "batch.kubernetes.io/job-name": metadata["name"],
            "controller-uid": metadata["uid"],
            "job-name": metadata["name"],
        }
        name = f"{metadata['name']}-{random_suffix(self.context.random)}"
        pod = pod_from_template(owner, owner["spec"]["template"], name, labels)
        pod["metadata"]["generateName"] = f"{metadata['name']}-"
        return self.client.create(pod)

    def _write_status(self, owner: Object, active: list[Object], succeeded: int, failed: int, outcome: str) -> None:
        now = self.context.clock.wall()
        before = owner.get("status") or {}
        status: Object = copied(before)
        status.setdefault("startTime", format_time(now))
        counts = {"active": len(active), "succeeded": succeeded, "failed": failed}
        for field, count in counts.items():
            if count:
                status[field] = count
            else:
                status.pop(field, None)
        status["ready"] = sum(is_ready(pod) for pod in active)
        status["terminating"] = 0
        status["uncountedTerminatedPods"] = {}
        if outcome == "Complete":
            status["completionTime"] = format_time(now)
            reached = {
                "reason": "CompletionsReached",
                "message": "Reached expected number of succeeded pods",
                "lastProbeTime": format_time(now),
            }
            wanted = [{"type": type_, "status": "True", **reached} for type_ in ("SuccessCriteriaMet", "Complete")]
            set_conditions(status, wanted, now)
        elif outcome == "Failed":
            why = {
                "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit",
                "lastProbeTime": format_time(now),
            }
            set_conditions(
                status, [{"type": type_, "status": "True", **why} for type_ in ("FailureTarget", "Failed")], now
            )
        write_status(self.client, owner, status)

    def _expire(self, owner: Object) -> float | None:
        seconds = owner["spec"].get("ttlSecondsAfterFinished")
        if seconds is None:
            return None
        ended = condition_of(owner, "Complete") or condition_of(owner, "Failed") or {}
        left = parse_time(ended["lastTransitionTime"]) + seconds - self.context.clock.wall()
        if left > 0:
            return float(left)
        metadata = owner["metadata"]
        self.client.delete(JOB, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        return None


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _completions(job: Object) -> int:
    completions = job["spec"].get("completions")
    return 1 if completions is None else int(completions)
