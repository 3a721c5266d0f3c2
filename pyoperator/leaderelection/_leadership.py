"""The fence: what every write of a leader is asked for, from any thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pyoperator.client import LeadershipLost

if TYPE_CHECKING:
    from pyoperator.clock import Clock
    from pyoperator.leaderelection._config import ElectionConfig


@dataclass(frozen=True, slots=True)
class LeadershipStatistics:
    """Counters of one fence: writes refused since the start."""

    refused_total: int = 0


@dataclass(frozen=True, slots=True)
class _Tenure:
    """What the elector last published; replaced as a whole, so that a reader in any thread sees one consistent state."""

    valid_until: float
    token: int


class Leadership:
    """Tell whether this process leads *now*, and refuse what would come too late. Thread-safe; a ``Gate`` for clients.

    Leading is a matter of time, not a flag: valid-until is the moment before the last successful renewal was sent plus
    the renew deadline, on a clock that goes on while the machine sleeps. So a process that was stopped finds the fence
    closed when it wakes, before the elector has had a chance to run.
    """

    def __init__(
        self, config: ElectionConfig, clock: Clock, *, logger: structlog.typing.FilteringBoundLogger | None = None
    ) -> None:
        self._config = config
        self._clock = clock
        self._logger = logger
        self._tenure: _Tenure | None = None
        self._last_token = 0
        self._lock = threading.Lock()
        self._shut = False
        self._refused = 0
        self._logged = False

    def admit(self, method: str, path: str) -> float | None:
        """Return the seconds left to a write; raises LeadershipLost if less than the write margin (<= 1 s) is left."""
        remaining = self._remaining()
        if remaining >= self._config.write_margin:
            return remaining
        self._refuse(method, path)
        raise LeadershipLost(f"{method} {path} was not sent: {self._why(remaining)}")

    def check(self) -> None:
        """Raise LeadershipLost unless a write could be sent now: for what is no Kubernetes write (SQL, HTTP, files)."""
        remaining = self._remaining()
        if remaining < self._config.write_margin:
            raise LeadershipLost(self._why(remaining))

    @property
    def token(self) -> int:
        """The fencing token: the Lease's leaseTransitions in this (or the last) tenure; grows from leader to leader.

        Hand it to systems that can refuse a lower one than they have seen. It starts again at 0 if somebody deletes
        the Lease.
        """
        tenure = self._tenure
        return self._last_token if tenure is None else tenure.token

    @property
    def is_leader(self) -> bool:
        """Whether valid-until lies ahead."""
        return self._remaining() > 0

    @property
    def valid_until(self) -> float | None:
        """The end of leadership unless renewed, as a reading of ``Clock.elapsed()``; None when not elected."""
        tenure = self._tenure
        return None if tenure is None else tenure.valid_until

    @property
    def identity(self) -> str:
        return self._config.identity

    def statistics(self) -> LeadershipStatistics:
        return LeadershipStatistics(refused_total=self._refused)

    def publish(self, valid_until: float | None, token: int) -> None:
        """Set the gate; called by the driver after each step of the elector, None closes it."""
        with self._lock:
            if valid_until is None:
                self._tenure = None
                self._shut = False
                return
            if self._shut:
                return
            self._last_token = token
            if self._tenure is None:
                self._logged = False  # each tenure's end is worth one line
            self._tenure = _Tenure(valid_until, token)

    def close(self) -> None:
        """Close the fence for the rest of this tenure, before the elector has stepped down: no renewal opens it again.

        For the one who ends the work, on another thread than the elector's, perhaps. The next tenure opens it.
        """
        with self._lock:
            self._shut = self._tenure is not None
            self._tenure = None

    def _remaining(self) -> float:
        tenure = self._tenure
        return -1.0 if tenure is None else tenure.valid_until - self._clock.elapsed()

    def _why(self, remaining: float) -> str:
        lease = f"{self._config.namespace}/{self._config.name}"
        state = (
            f"the Lease {lease} could not be renewed in time ({max(remaining, 0.0):.1f} s left)"
            if self._tenure is not None
            else f"this process does not hold the Lease {lease}"
        )
        return (
            f"{self.identity} does not lead (any more): {state}. "
            "A write that must not depend on leadership goes through manager.unfenced_client(reason=...)"
        )

    def _refuse(self, method: str, path: str) -> None:
        with self._lock:
            self._refused += 1
            first, self._logged = not self._logged, True
        if first:
            logger = self._logger or structlog.get_logger()
            logger.warning(
                "write refused: not the leader",
                method=method,
                path=path,
                lease=self._config.name,
                identity=self.identity,
            )

    def __repr__(self) -> str:
        return f"<Leadership {self.identity!r} leader={self.is_leader} token={self.token} refused={self._refused}>"
