"""What the elector asks of its driver, and what it reports: plain frozen records.

Those that stay in this room are msgspec's: a dataclass takes a millisecond of every program's start.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

from msgspec import Struct


class Phase(Enum):
    """Where a candidate stands."""

    IDLE = "idle"
    FOLLOWING = "following"
    LEADING = "leading"
    RELEASING = "releasing"


class SendRequest(Struct, frozen=True):
    """Send one request; feed the answer back with ``request``. ``timeout`` in seconds covers the whole of it."""

    request: int
    method: Literal["GET", "PUT", "POST"]
    path: str
    body: bytes | None
    timeout: float


class CancelRequest(Struct, frozen=True):
    """Give up waiting for a request; its answer no longer matters, though it may be carried out."""

    request: int


class OpenWatch(Struct, frozen=True):
    """Watch the Lease by name, from its present state on; feed lines back with ``watch``."""

    watch: int
    path: str
    query: tuple[tuple[str, str], ...]
    connect_timeout: float
    idle_timeout: float


class CloseWatch(Struct, frozen=True):
    """Close a watch; it reports nothing any more."""

    watch: int


TransitionKind = Literal["acquired", "lost", "released", "release_failed", "new_leader"]


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of leadership, seen from one candidate; ``wall`` in Unix seconds.

    ``acquired``, ``lost``, ``released``, ``release_failed`` are about this candidate; ``new_leader`` tells that
    ``holder`` leads now (also when it is this candidate). ``token`` is the Lease's leaseTransitions;
    ``lease_uid`` its uid, empty if the Lease is not there. ``silent``: lost because no renewal was answered in time.
    """

    kind: TransitionKind
    namespace: str
    name: str
    identity: str
    holder: str
    token: int
    wall: float
    reason: str = ""
    lease_uid: str = ""
    silent: bool = False


class Report(Struct, frozen=True):
    """Tell whoever listens."""

    transition: Transition


Action: TypeAlias = SendRequest | CancelRequest | OpenWatch | CloseWatch | Report


@dataclass(frozen=True, slots=True)
class ElectionStatus:
    """A snapshot of one candidate; the record that logs, metrics, health checks and tests read.

    Instants (``valid_until``, ``renewed_at``, ``seen_at``) are readings of the elector's ``Clock.elapsed()``, None if
    there is none. ``master_status`` and ``slowpath_total`` feed leader_election_master_status{name} and
    leader_election_slowpath_total{name}; ``last_renew_age`` is in seconds, at the time the snapshot was asked for.
    """

    name: str
    namespace: str
    identity: str
    phase: Phase = Phase.IDLE
    holder: str = ""
    token: int = 0
    resource_version: str = ""
    valid_until: float | None = None
    renewed_at: float | None = None
    last_renew_age: float | None = None
    seen_at: float | None = None
    watching: bool = False
    requests_total: int = 0
    slowpath_total: int = 0
    acquisitions_total: int = 0
    losses_total: int = 0
    last_error: str = ""

    @property
    def is_leader(self) -> bool:
        return self.phase is Phase.LEADING

    @property
    def master_status(self) -> int:
        return int(self.is_leader)
