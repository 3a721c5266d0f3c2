"""SIGINT and SIGTERM: the first stops gracefully, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ENOUGH = 64  # bytes read at a time, one per signal


class _Counter:
    """Count the stop signals that one witness saw, and act on each."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        request_stop: Callable[[str], None],
        exit_process: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._request_stop = request_stop
        self._exit_process = exit_process
        self._seen = 0

    def saw(self, number: int) -> None:
        self._seen += 1
        name = signal.Signals(number).name
        if self._seen > 1:
            # No logging here: the lock it needs may be held by the very code that was interrupted.
            os.write(2, f"{name} again: ending at once\n".encode())
            self._exit_process(1)
            return
        with suppress(RuntimeError):  # the loop has ended, and the process is about to
            self._loop.call_soon_threadsafe(self._request_stop, name)


@contextmanager
def stop_signals(
    loop: asyncio.AbstractEventLoop, request_stop: Callable[[str], None], exit_process: Callable[[int], None]
) -> Iterator[None]:
    """Own both signals inside the block; does nothing outside the main thread, where Python can't.

    Two witnesses, each with a count of its own. Python's handlers run in the main thread between two steps of Python
    code: not the loop's handlers, which would wait for the loop, and the second signal is for when that is stuck. When
    the main thread is stuck in one native call, only the interpreter's C handler runs: it writes the number to a
    wake-up socket, which a thread reads. Whoever had set such a socket before (uvloop does) still gets the numbers; if
    somebody sets another one inside the block, Python's handlers are left.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    by_handler, by_socket = (_Counter(loop, request_stop, exit_process) for _ in range(2))

    def handle(number: int, _frame: Any) -> None:
        by_handler.saw(number)

    reader, writer = socket.socketpair()
    writer.setblocking(False)  # a C handler must never wait
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        while numbers := reader.recv(_ENOUGH):
            if previous != -1:
                with suppress(OSError):
                    os.write(previous, numbers)
            for number in numbers:
                if number in _SIGNALS:
                    by_socket.saw(number)

    listener = threading.Thread(target=listen, name="pyoperator-signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        current = signal.set_wakeup_fd(previous, warn_on_full_buffer=False)
        if current != writer.fileno():
            signal.set_wakeup_fd(current)  # set by somebody inside the block, who may still need it
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        writer.close()
        listener.join()
        reader.close()
