"""SIGINT and SIGTERM: the first stops gracefully, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals(
    loop: asyncio.AbstractEventLoop, request_stop: Callable[[str], None], exit_process: Callable[[int], None]
) -> Iterator[None]:
    """Own both signals inside the block; does nothing outside the main thread, where Python can't.

    Plain handlers, not the loop's: those would wait for the loop, and the second signal is for when it is stuck.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = 0

    def handle(number: int, _frame: Any) -> None:
        nonlocal received
        received += 1
        name = signal.Signals(number).name
        if received > 1:
            # No logging here: the lock it needs may be held by the very code that was interrupted.
            os.write(2, f"{name} again: ending at once\n".encode())
            exit_process(1)
            return
        loop.call_soon_threadsafe(request_stop, name)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
