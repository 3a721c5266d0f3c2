"""Readings that the event loop can't give, seeded randomness, and a loop whose time is virtual.

Time *passes* only through the loop (``asyncio.sleep``, ``asyncio.timeout``). This room holds what is left: the wall
clock for timestamps, elapsed time that goes on during suspend, and a source of randomness; each is handed to whoever
needs it, so that a test can replace all three.
"""

from pyoperator.clock._randomness import Randomness
from pyoperator.clock._readings import Clock, LoopClock, SystemClock
from pyoperator.clock._virtual_loop import Deadlock, VirtualTimeLoop, virtual_loop_factory

__all__ = [
    "Clock",
    "Deadlock",
    "LoopClock",
    "Randomness",
    "SystemClock",
    "VirtualTimeLoop",
    "virtual_loop_factory",
]
