"""What the garbage collector need not look at while a manager runs, and when its process ends."""

from __future__ import annotations

import atexit
import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def spared_collection() -> Iterator[None]:
    """Take everything that exists now out of all garbage collections until the end, by ``gc.freeze``.

    An operator begins with some 50,000 objects that live as long as it does: modules, classes, models, the manager. A
    full collection walks them all, and the loop stands still for 20 to 40 ms of CPU each time; without them it takes
    about 1 ms. To be called before the first connection is opened, so that nothing which comes and goes is kept for ever:
    cached objects need no sparing, the collector never sees those.

    When the interpreter ends it is done once more: it would take all those objects apart, one by one, only to give the
    memory back to a system that takes it anyway. That is 100 ms of a whole core just when another replica on this node
    takes over; without it an ended process is gone after 20.

    This is the process's own setting: for who runs a whole process, as ``Manager.run`` does. If somebody else has frozen
    objects before, theirs are thawed with ours at the end.
    """
    atexit.unregister(gc.freeze)  # once, however many managers run one after the other
    atexit.register(gc.freeze)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
