"""What ends the process when no Python code can run any more: a native call that keeps the GIL.

``faulthandler`` has a timer thread of its own that needs no GIL; it writes the stacks of all threads to standard error
and ends the process with code 1. That timer exists once per process, as signals do. So it has one owner,
:data:`PROCESS_SWITCH`, the only mutable global of the library: a second timer would silently replace the first.
"""

from __future__ import annotations

import faulthandler
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyoperator.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyoperator.clock import Clock

_STANDARD_ERROR = 2  # the descriptor itself: sys.stderr may have been replaced by something without one
_SHORTEST = 0.001  # seconds: what the timer takes at least


def _start_timer(seconds: float) -> None:
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STANDARD_ERROR)


class DeadMansSwitch:
    """Arbitrate between all who hold a deadline: the timer runs until the earliest. Thread-safe.

    ``start(seconds)`` starts the timer anew, ``cancel()`` stops it.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        start: Callable[[float], None] = _start_timer,
        cancel: Callable[[], None] = faulthandler.cancel_dump_traceback_later,
    ) -> None:
        # Its own clock: deadlines come as seconds from now, because each manager may have another clock.
        self._clock = clock if clock is not None else SystemClock()
        self._start = start
        self._cancel = cancel
        self._lock = threading.Lock()
        self._deadlines: dict[object, float] = {}
        self._armed: float | None = None

    def arm(self, holder: object, seconds: float) -> None:
        """End the process ``seconds`` from now unless ``holder`` arms again or disarms before."""
        with self._lock:
            self._deadlines[holder] = self._clock.elapsed() + seconds
            self._set()

    def disarm(self, holder: object) -> None:
        """Forget the holder's deadline; does nothing if it has none."""
        with self._lock:
            if self._deadlines.pop(holder, None) is not None:
                self._set()

    def close(self) -> None:
        """Forget all deadlines."""
        with self._lock:
            self._deadlines.clear()
            self._set()

    def _set(self) -> None:
        earliest = min(self._deadlines.values(), default=None)
        if earliest == self._armed:
            return
        self._armed = earliest
        if earliest is None:
            self._cancel()
        else:
            self._start(max(earliest - self._clock.elapsed(), _SHORTEST))

    def __repr__(self) -> str:
        return f"<DeadMansSwitch {len(self._deadlines)} deadlines>"


class SwitchOwner:
    """Own the process's switch: made for the first who needs it, shared by all others, gone with the last."""

    def __init__(self, make: Callable[[], DeadMansSwitch] = DeadMansSwitch) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._switch: DeadMansSwitch | None = None
        self._users = 0

    @contextmanager
    def acquired(self) -> Iterator[DeadMansSwitch]:
        """Share the switch inside the block."""
        with self._lock:
            if self._switch is None:
                self._switch = self._make()
            switch = self._switch
            self._users += 1
        try:
            yield switch
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._switch = None
                    switch.close()

    def __repr__(self) -> str:
        return f"<SwitchOwner users={self._users} {self._switch!r}>"


PROCESS_SWITCH = SwitchOwner()
