"""Run an operator's replicas as real processes on the embedded API server, watch them, break them, judge them.

A :class:`Project` (``lab.yaml``) says what is specific to an operator, a :class:`Scale` how many and how fast. ``async
with Lab(project, scale) as lab`` starts everything; :func:`run_lab` shows it until it is stopped, :func:`play_demo`
kills and rolls replicas under load and returns the judge's verdict.
"""

from pyoperator.testing.lab._demo import play_demo
from pyoperator.testing.lab._errors import LabError
from pyoperator.testing.lab._lab import Lab
from pyoperator.testing.lab._project import Project
from pyoperator.testing.lab._replica import Replica
from pyoperator.testing.lab._run import run_lab
from pyoperator.testing.lab._scale import Scale, parse_duration
from pyoperator.testing.lab._snapshot import (
    ConditionView,
    EventView,
    LeaseView,
    ObjectView,
    ReplicaView,
    Snapshot,
)
from pyoperator.testing.lab._timeline import Timeline, TimelineEntry

__all__ = [
    "ConditionView",
    "EventView",
    "Lab",
    "LabError",
    "LeaseView",
    "ObjectView",
    "Project",
    "Replica",
    "ReplicaView",
    "Scale",
    "Snapshot",
    "Timeline",
    "TimelineEntry",
    "parse_duration",
    "play_demo",
    "run_lab",
]
