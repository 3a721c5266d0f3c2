"""Telling people about a change of leadership: one line in the log, one event on the Lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.objects import Unstructured

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from pyoperator.events import EventRecorder
    from pyoperator.leaderelection import Transition

_MESSAGES = {
    "acquired": "became leader",
    "lost": "stopped leading",
    "released": "stopped leading",
    "release_failed": "could not release the lease",
}


def announce(transition: Transition, logger: FilteringBoundLogger, recorder: EventRecorder | None) -> None:
    """Log a transition and record it, as controller-runtime does; on the work loop, never waits, best effort."""
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
