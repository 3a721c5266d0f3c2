"""What several test rooms share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from pyoperator.clock import virtual_loop_factory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


def run_virtual(main: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run ``main()`` to its end on a loop whose time is virtual."""
    with asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
        return runner.run(main())
