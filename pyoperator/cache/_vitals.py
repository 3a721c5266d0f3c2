"""A reflector's account of itself: what works, since when it does not, why, and how often that is logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from pyoperator.cache._status import ReflectorStatus

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from pyoperator.clock import Clock

Phase: TypeAlias = Literal["list", "connect", "stream", "silent"]

LOG_PERIOD: Final = 60.0
_LONGEST_LOG_PERIOD: Final = 3600.0


class Vitals:
    """Count, remember the failure that lasts, and log it when its reason changes and then once a minute.

    What waits for somebody to act (``patient``: a missing permission) is repeated ever less often, down to once an hour.
    """

    def __init__(self, clock: Clock, logger: FilteringBoundLogger, namespace: str) -> None:
        self._clock = clock
        self._logger = logger
        self._namespace = namespace
        self.synced = False
        self.lists = 0
        self.streamed_lists = 0
        self.relists = 0
        self.watches = 0
        self.events = 0
        self.signs = 0  # of life: events and bookmarks
        self.failures = 0
        self.unexpected_errors = 0
        self.unreadable = 0
        self._bookmark_at: float | None = None
        self._life_at: float | None = None
        self._phase: Phase | None = None
        self._failure = ""
        self._failing_since: float | None = None
        self._server_answers = True
        self._logged_at = float("-inf")
        self._logged_reason = ""
        self._log_period = LOG_PERIOD

    @property
    def sign_of_life_age(self) -> float | None:
        """Seconds since the last sign of life; None if there was none yet."""
        return None if self._life_at is None else self._clock.elapsed() - self._life_at

    def alive(self) -> None:
        """Note data from the watch: everything works."""
        self.signs += 1
        self._life_at = self._clock.elapsed()
        if self._phase is not None:
            self._recovered()

    def bookmark(self) -> None:
        self._bookmark_at = self._clock.elapsed()
        self.alive()

    def receiving(self) -> None:
        """Note that a state is on its way; whether all of it comes is not known yet, so it cures nothing."""
        self._life_at = self._clock.elapsed()

    def listed(self, *, streamed: bool) -> None:
        """Note a complete state. It cures only failures to list: a watch that always breaks must stay visible."""
        self.lists += 1
        self.streamed_lists += streamed
        self._life_at = self._clock.elapsed()
        if self._phase == "list":
            self._recovered()

    def connected(self) -> None:
        """Note that a watch was accepted. What failed inside a stream, silence too, is cured by its first line, not by this."""
        self.watches += 1
        self._life_at = self._clock.elapsed()
        if self._phase == "connect":
            self._recovered()

    def failed(
        self, phase: Phase, reason: str, *, server_answers: bool, retry_in: float, patient: bool = False
    ) -> None:
        now = self._clock.elapsed()
        self.failures += 1
        if self._failing_since is None:
            self._failing_since = now
        self._phase, self._failure, self._server_answers = phase, reason, server_answers
        if reason != self._logged_reason:
            self._log_period = LOG_PERIOD
        elif now - self._logged_at < self._log_period:
            return
        elif patient:
            self._log_period = min(2 * self._log_period, _LONGEST_LOG_PERIOD)
        self._tell(reason, now, retry_in)

    def _tell(self, reason: str, now: float, retry_in: float) -> None:
        since = self._failing_since if self._failing_since is not None else now
        self._logged_reason, self._logged_at = reason, now
        self._logger.warning(
            "informer is not fresh",
            reason=reason,
            failing_for=round(now - since, 1),
            retry_in=round(retry_in, 1),
            synced=self.synced,
        )

    def _recovered(self) -> None:
        since = self._failing_since if self._failing_since is not None else self._clock.elapsed()
        self._phase, self._failure, self._failing_since, self._server_answers = None, "", None, True
        if self._logged_reason:
            self._logged_reason = ""
            self._logger.info("informer is fresh again", after=round(self._clock.elapsed() - since, 1))

    def status(self, resource_version: str) -> ReflectorStatus:
        now = self._clock.elapsed()
        return ReflectorStatus(
            namespace=self._namespace,
            synced=self.synced,
            resource_version=resource_version,
            lists=self.lists,
            streamed_lists=self.streamed_lists,
            relists=self.relists,
            watches=self.watches,
            events=self.events,
            failures=self.failures,
            unexpected_errors=self.unexpected_errors,
            unreadable=self.unreadable,
            bookmark_age=None if self._bookmark_at is None else now - self._bookmark_at,
            sign_of_life_age=self.sign_of_life_age,
            phase=self._phase or "",
            failure=self._failure,
            failing_for=None if self._failing_since is None else now - self._failing_since,
            server_answers=self._server_answers,
        )
