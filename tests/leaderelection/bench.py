"""A bench for the sans-I/O elector: tests hold its requests, and decide when they arrive and what becomes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyoperator.clock import Randomness
from pyoperator.leaderelection import (
    CancelRequest,
    CloseWatch,
    ElectionConfig,
    Elector,
    OpenWatch,
    Report,
    SendRequest,
    Transition,
)
from tests.leaderelection.lease_server import LeaseServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoperator.leaderelection import Action

EPOCH = 1_767_225_600.0


class Bench:
    """One elector at time ``now``; ``server`` may be shared between benches."""

    def __init__(
        self, identity: str = "a", server: LeaseServer | None = None, *, seed: int = 1, **settings: Any
    ) -> None:
        self.config = ElectionConfig(name="op", namespace="default", identity=identity, **settings)
        self.elector = Elector(self.config, Randomness(seed))
        self.server = server or LeaseServer()
        self.now = 1000.0
        self.requests: list[SendRequest] = []
        self.cancelled: list[int] = []
        self.watch: OpenWatch | None = None
        self.transitions: list[Transition] = []

    @property
    def wall(self) -> float:
        return EPOCH + self.now

    def do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case SendRequest():
                    self.requests.append(action)
                case CancelRequest(request=number):
                    self.cancelled.append(number)
                case OpenWatch():
                    self.watch = action
                case CloseWatch():
                    self.watch = None
                case Report(transition=transition):
                    self.transitions.append(transition)

    def campaign(self) -> None:
        self.do(self.elector.campaign(self.now, self.wall))

    def release(self) -> None:
        self.do(self.elector.release(self.now, self.wall))

    def stop(self) -> None:
        self.do(self.elector.stop(self.now, self.wall))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, ticking where the elector asks for it; requests stay where they are."""
        self.until(self.now + seconds)

    def until(self, end: float) -> None:
        ticks = 0
        while self.elector.next_tick <= end:
            ticks += 1
            assert ticks < 1000, "the elector stays due"
            self.now = max(self.now, self.elector.next_tick)
            self.do(self.elector.tick(self.now, self.wall))
        self.now = end

    def take(self, method: str) -> SendRequest:
        """Take the one request in flight off the wire."""
        assert [request.method for request in self.requests] == [method]
        return self.requests.pop()

    def deliver(self, method: str) -> int:
        """Bring the request in flight to the server and the answer back, at this instant."""
        request = self.take(method)
        status, body = self.commit(request)
        self.answer(request, status, body)
        return status

    def commit(self, request: SendRequest) -> tuple[int, bytes]:
        return self.server.handle(request.method, request.path, request.body, self.config.identity)

    def answer(self, request: SendRequest, status: int, body: bytes = b"{}") -> None:
        self.do(self.elector.answered(self.now, self.wall, request.request, status, body))

    def fail(self, request: SendRequest, *, sent: bool = True) -> None:
        self.do(self.elector.failed(self.now, self.wall, request.request, "connection reset", sent=sent))

    def event(self, kind: str = "MODIFIED", item: dict[str, Any] | None = None) -> None:
        assert self.watch is not None
        item = item if item is not None else self.server.lease
        assert item is not None
        self.do(self.elector.watch_event(self.now, self.wall, self.watch.watch, kind, item))

    def end_watch(self, status: int = 0) -> None:
        assert self.watch is not None
        self.do(self.elector.watch_ended(self.now, self.wall, self.watch.watch, status, "ended"))

    def lead(self) -> None:
        """Make this candidate the leader of a Lease that did not exist, at this instant."""
        self.campaign()
        self.deliver("GET")
        self.pass_time(0.03)
        self.deliver("POST")
        assert self.leading
        self.event()

    @property
    def leading(self) -> bool:
        return self.elector.valid_until is not None and self.now < self.elector.valid_until

    @property
    def kinds(self) -> list[str]:
        return [transition.kind for transition in self.transitions]


def spec_of(request: SendRequest) -> dict[str, Any]:
    assert request.body is not None
    return dict(json.loads(request.body)["spec"])


def metadata_of(request: SendRequest) -> dict[str, Any]:
    assert request.body is not None
    return dict(json.loads(request.body)["metadata"])


def foreign_lease(
    holder: str = "other", transitions: int = 3, duration: int | None = 15, **spec: Any
) -> dict[str, Any]:
    """A Lease as another client wrote it, with timestamps that say nothing to us."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "op", "namespace": "default", "labels": {"keep": "me"}},
        "spec": {
            "holderIdentity": holder,
            "acquireTime": "2001-01-01T00:00:00.000000Z",
            "renewTime": "2001-01-01T00:00:00.000000Z",
            "leaseTransitions": transitions,
            **({} if duration is None else {"leaseDurationSeconds": duration}),
            **spec,
        },
    }
