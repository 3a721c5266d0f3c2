"""What ends the process when no Python code can run any more: a native call that keeps the GIL.

Its timer takes something that exists once per process, a signal. So it has one owner, :data:`PROCESS_SWITCH`, the only
mutable global of the library.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyoperator.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyoperator.clock import Clock
    from pyoperator.leaderelection._process_timer import ProcessTimer


def _process_timer() -> ProcessTimer:
    # Imported when first needed: who only stands by need not pay for it.
    from pyoperator.leaderelection._process_timer import process_timer

    return process_timer()


class DeadMansSwitch:
    """Arbitrate between all who hold a deadline: the timer runs until the earliest. Thread-safe.

    ``make_timer`` is called when the first deadline comes.
    """

    def __init__(self, *, clock: Clock | None = None, make_timer: Callable[[], ProcessTimer] = _process_timer) -> None:
        # Its own clock: deadlines come as seconds from now, because each manager may have another clock.
        self._clock = clock if clock is not None else SystemClock()
        self._make_timer = make_timer
        self._timer: ProcessTimer | None = None
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
        """Forget all deadlines and give the timer back."""
        with self._lock:
            self._deadlines.clear()
            self._set()
            if self._timer is not None:
                self._timer.close()
                self._timer = None

    def _set(self) -> None:
        earliest = min(self._deadlines.values(), default=None)
        if earliest == self._armed:
            return
        self._armed = earliest
        if self._timer is None:
            self._timer = self._make_timer()
        if earliest is None:
            self._timer.cancel()
        else:
            self._timer.start(earliest - self._clock.elapsed())

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
