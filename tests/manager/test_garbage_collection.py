"""What exists at the start is spared while a manager runs and when its process ends, and looked after in between."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import atexit, gc
from pyoperator.manager._garbage_collection import spared_collection

atexit.register(lambda: print(gc.get_freeze_count() > 1000))  # called after those that are registered later
for _ in range(2):
    with spared_collection():
        print(gc.get_freeze_count() > 1000)
    print(gc.get_freeze_count() > 1000)
calls = []
atexit.unregister(gc.freeze)
atexit.register(lambda: print(len(calls)))
gc.freeze, freeze = lambda: (calls.append(1), freeze()), gc.freeze
with spared_collection(), spared_collection():
    calls.clear()
"""


def test_frozen_while_running_and_once_more_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    running, after, end = "True", "False", "True"
    assert done.stdout.split() == [running, after, running, after, "1", end]
