"""A timer that ends the process although no Python code can run: what a dead man's switch is made of."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from typing import Any, ClassVar, Final, Protocol

_STANDARD_ERROR: Final = 2  # the descriptor itself: sys.stderr may have been replaced by something without one
_SHORTEST: Final = 0.001  # seconds: zero would stop a timer
_LEAD: Final = 0.1  # seconds for what is said before the end
_APART: Final = 0.02  # seconds between what is said and where: two threads write, and a busy machine would mix them
_AGAIN: Final = 0.05  # seconds: the end needs a new thread, which a machine may refuse for a moment
_FAILURE: Final = 1
_CLOCK: Final = 7  # CLOCK_BOOTTIME
_THREAD, _THREAD_ID = 2, 4  # SIGEV_THREAD, SIGEV_THREAD_ID
_IGNORE: Final = 1  # SIG_IGN
_POINTER: Final = 8  # bytes

_LAST_WORDS: Final = (
    b"dead man's switch: no Python code runs, and the lease is about to end (a call keeps the GIL, or the process was "
    b"stopped): ending it with code 1; where the main thread is:"
)


class ProcessTimer(Protocol):
    """Something that ends the process with code 1 unless it is told otherwise in time, without the GIL."""

    def start(self, seconds: float) -> None:
        """Begin to count, or count anew."""
        ...

    def cancel(self) -> None: ...

    def close(self) -> None:
        """Cancel, and give back what the timer took of the process."""
        ...


def process_timer() -> ProcessTimer:
    """Return the best timer that this platform has."""
    try:
        return KernelTimer()
    except (AttributeError, OSError):
        return FaultHandlerTimer()


class FaultHandlerTimer:
    """The standard library's, where there is no other (macOS).

    Before it ends the process it reads the stacks of all threads without the GIL. If they move at that time, because
    the process was stopped rather than the GIL held, that may end it by SIGSEGV instead.
    """

    def start(self, seconds: float) -> None:
        faulthandler.dump_traceback_later(max(seconds, _SHORTEST), exit=True, file=_STANDARD_ERROR)

    def cancel(self) -> None:
        faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        self.cancel()


class KernelTimer:
    """Timers of the kernel that call functions of the C library; the counterpart of no feature elsewhere.

    One calls ``_exit(1)``: nothing else is between the end of the time and the end of the process, neither a lock nor
    a write to a reader that is gone. Shortly before it, a second says why, and a third sends a signal for which
    ``faulthandler`` writes a stack: the main thread's, in the main thread. Only its own stack stands still for sure. A
    thread that reads another's without the GIL, as ``faulthandler``'s own timer does, may read what was just freed,
    and then the exit code is that of a segmentation fault.

    The clock is the fence's: it goes on while the machine sleeps. Raises AttributeError or OSError where the C library
    or the kernel has no such timers.
    """

    def __init__(self) -> None:
        if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != _POINTER:
            raise OSError("the layout of timers is known for Linux on 64 bits only")
        self._library = ctypes.CDLL(None, use_errno=True)
        # Before glibc 2.34 they were in a library of their own.
        timers = self._library if hasattr(self._library, "timer_create") else ctypes.CDLL("librt.so.1", use_errno=True)
        self._create, self._delete = timers.timer_create, timers.timer_delete
        self._gettime, self._settime = timers.timer_gettime, timers.timer_settime
        self._delete.argtypes = (ctypes.c_void_p,)
        self._gettime.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        self._settime.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._words = ctypes.create_string_buffer(_LAST_WORDS)
        self._signal = _free_signal()
        self._timers: list[ctypes.c_void_p] = []
        self._counting = False
        self._end = self._make(_THREAD, address=self._address("_exit"), value=_FAILURE)
        self._said = [self._make(_THREAD, address=self._address("warnx"), value=ctypes.addressof(self._words))]
        if self._signal:
            # What it goes back to in the end: one may still be on its way then, and by default it ends the process.
            self._library.signal(ctypes.c_int(self._signal), ctypes.c_void_p(_IGNORE))
            faulthandler.register(self._signal, file=_STANDARD_ERROR, all_threads=False)
            # To the main thread, whose number is that of the process; the kernel might choose another.
            self._said.append(self._make(_THREAD_ID, signo=self._signal, address=os.getpid()))

    def start(self, seconds: float) -> None:
        if self._too_late():
            return
        self._counting = True
        # The end first: whatever follows may fail.
        self._set(self._end, max(seconds, _SHORTEST), again=_AGAIN)
        begin = max(seconds - _LEAD, seconds / 2, 0.0) + _SHORTEST
        for place, timer in enumerate(self._said):
            self._set(timer, begin + place * min(_APART, max(seconds, 0.0) / 8))

    def cancel(self) -> None:
        if self._too_late():
            return
        self._counting = False
        for timer in (self._end, *self._said):
            self._set(timer, 0.0)

    def close(self) -> None:
        if self._too_late():
            return
        for timer in self._timers:
            self._delete(timer)
        self._timers.clear()
        if self._signal:
            faulthandler.unregister(self._signal)

    def _too_late(self) -> bool:
        """Tell whether the last words were said: then they hold, for the signal may have cut short what held the GIL."""
        return self._counting and self._left(self._said[0]) == 0.0

    def _left(self, timer: ctypes.c_void_p) -> float:
        setting = _Setting()
        self._check(self._gettime(timer, ctypes.byref(setting)))
        return float(setting.value.seconds) + float(setting.value.nanoseconds) / 1e9

    def _make(self, notify: int, *, address: int, value: int = 0, signo: int = 0) -> ctypes.c_void_p:
        event = _Event(value=value, signo=signo, notify=notify, address=address)
        timer = ctypes.c_void_p()
        self._check(self._create(_CLOCK, ctypes.byref(event), ctypes.byref(timer)))
        self._timers.append(timer)
        return timer

    def _address(self, function: str) -> int:
        return ctypes.cast(getattr(self._library, function), ctypes.c_void_p).value or 0

    def _set(self, timer: ctypes.c_void_p, seconds: float, *, again: float = 0.0) -> None:
        setting = _Setting(interval=_Time.of(again), value=_Time.of(seconds))
        self._check(self._settime(timer, 0, ctypes.byref(setting), None))

    def _check(self, result: int) -> None:
        if result != 0:
            raise OSError(ctypes.get_errno(), "the kernel refused a timer")


class _Event(ctypes.Structure):
    """``struct sigevent`` of glibc and musl."""

    _fields_: ClassVar[Any] = [
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("address", ctypes.c_void_p),  # of the function, or the number of the thread
        ("attributes", ctypes.c_void_p),
        ("rest", ctypes.c_byte * 32),
    ]


class _Time(ctypes.Structure):
    """``struct timespec``."""

    _fields_: ClassVar[Any] = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

    @classmethod
    def of(cls, seconds: float) -> _Time:
        return cls(int(seconds), int(seconds % 1 * 1e9))


class _Setting(ctypes.Structure):
    """``struct itimerspec``."""

    _fields_: ClassVar[Any] = [("interval", _Time), ("value", _Time)]


def _free_signal() -> int:
    """Return a real-time signal that Python handles for nobody, 0 if there is none."""
    every = range(signal.SIGRTMAX - 1, signal.SIGRTMIN, -1)
    return next((number for number in every if signal.getsignal(number) is signal.SIG_DFL), 0)
