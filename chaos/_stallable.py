"""The postgres-operator, with a hand to stall it and a clock to set wrong: run by path, with the operator's flags.

From outside nobody can block a process's event loop and leave its other threads alone, and no switch for it belongs
into the product. A signal's handler runs on the main thread, where the operator's loop is: SIGUSR1 sleeps there, with
the GIL released as most blocking calls have it; SIGUSR2 holds the GIL, as an extension in C may. The file that
CHAOS_STALL names says for how many seconds. CHAOS_WALL_OFFSET is added to the wall clock that the manager sees, in seconds.
"""

import ctypes
import functools
import os
import signal
import time
from pathlib import Path

from postgres_operator import main as program
from pyoperator.clock import SystemClock
from pyoperator.manager import Manager


class WrongClock(SystemClock):
    """The machine's clocks, the wall clock off by some seconds."""

    def __init__(self, offset: float) -> None:
        self._offset = offset

    def wall(self) -> float:
        return super().wall() + self._offset


def _seconds() -> float:
    return float(Path(os.environ["CHAOS_STALL"]).read_text("ascii"))


def _release_gil(_number: int, _frame: object) -> None:
    time.sleep(_seconds())


def _hold_gil(_number: int, _frame: object) -> None:
    # PyDLL keeps the GIL during the call. A lock that one thread takes twice waits until the given time, also after
    # the signal for which the dead man's switch has a stack written.
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(128)
    until = time.time() + _seconds()
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_timedlock(mutex, ctypes.byref((ctypes.c_long * 2)(int(until), int(until % 1 * 1e9))))


def run() -> None:
    """Prepare and become the operator."""
    signal.signal(signal.SIGUSR1, _release_gil)
    signal.signal(signal.SIGUSR2, _hold_gil)
    clock = WrongClock(float(os.environ.get("CHAOS_WALL_OFFSET", "0")))
    # The operator has no option for it, and should have none: its module gets a Manager with our clock.
    vars(program)["Manager"] = functools.partial(Manager, clock=clock)
    program.main(prog_name="postgres-operator")


if __name__ == "__main__":
    run()
