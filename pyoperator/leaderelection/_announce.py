"""Telling people about a change of leadership: one line in the log, one event on the Lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from pyoperator.objects import Unstructured

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from pyoperator.leaderelection._actions import Transition

_MESSAGES = {
    "acquired": "became leader",
    "lost": "stopped leading",
    "released": "stopped leading",
    "release_failed": "could not release the lease",
}


class Recorder(Protocol):
    """Whatever records Kubernetes events without waiting, as ``pyoperator.events.EventRecorder`` does."""

    def event(
        self, obj: Any, type_: Literal["Normal", "Warning"], reason: str, message: str, *, action: str = ""
    ) -> None: ...


def announce(transition: Transition, logger: FilteringBoundLogger, recorder: Recorder | None) -> None:
    """Log a transition and record it on the Lease, as client-go does; on the work's loop, never waits, best effort."""
    lease = f"{transition.namespace}/{transition.name}"
    if transition.kind == "new_leader":
        if transition.holder != transition.identity:
            logger.info("another replica leads", lease=lease, leader=transition.holder)
        return
    message = _MESSAGES[transition.kind]
    log = logger.info if transition.kind in {"acquired", "released"} else logger.error
    details = {"reason": transition.reason} if transition.reason else {}
    log(message, lease=lease, identity=transition.identity, transitions=transition.token, **details)
    if recorder is None or transition.kind == "release_failed":
        return
    metadata = {"name": transition.name, "namespace": transition.namespace}
    if transition.lease_uid:
        metadata["uid"] = transition.lease_uid  # `kubectl describe` finds events by it
    reference = Unstructured({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata})
    recorder.event(reference, "Normal", "LeaderElection", f"{transition.identity} {message}", action="LeaderElection")
