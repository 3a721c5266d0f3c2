"""The names and labels that controller-runtime's dashboards ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyoperator.metrics import cache_families, controller_families, queue_families
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass
class Buckets:
    bounds: Sequence[float] = (1.0,)
    counts: Sequence[int] = (1, 0)
    total: float = 0.5


@dataclass
class Queue:
    name: str = "postgres"
    depth: Mapping[int, int] = field(default_factory=lambda: {0: 2, -100: 5})
    adds: int = 1
    retries: int = 2
    queue_duration: Buckets = field(default_factory=Buckets)
    work_duration: Buckets = field(default_factory=Buckets)
    unfinished_work_seconds: float = 3.0
    longest_running_processor_seconds: float = 4.0


@dataclass
class Controller:
    controller: str = "postgres"
    reconcile_total: Mapping[str, int] = field(default_factory=lambda: {"success": 9})
    errors: int = 1
    terminal_errors: int = 2
    panics: int = 3
    timeouts: int = 4
    conflicts: int = 5
    dead_letters: int = 9
    event_errors: int = 6
    reconcile_time: Buckets = field(default_factory=Buckets)
    max_concurrent_reconciles: int = 7
    active_workers: int = 8


@dataclass
class Informer:
    kind: GroupVersionKind
    lists: int = 1
    watches: int = 2
    relists: int = 1
    objects: int = 10
    bytes: int = 1000
    own_write_waits: int = 3
    own_write_timeouts: int = 1
    sign_of_life_age: float | None = 1.5
    failing_for: float | None = None
    phase: str = ""


def test_controllers() -> None:
    families = {family.name: family for family in controller_families([Controller()])}
    assert set(families) == {
        "controller_runtime_reconcile_total",
        "controller_runtime_reconcile_errors_total",
        "controller_runtime_terminal_reconcile_errors_total",
        "controller_runtime_reconcile_panics_total",
        "controller_runtime_reconcile_timeouts_total",
        "controller_runtime_reconcile_time_seconds",
        "controller_runtime_max_concurrent_reconciles",
        "controller_runtime_active_workers",
        "pyoperator_reconcile_conflicts_total",
        "pyoperator_dead_letters_total",
        "pyoperator_event_errors_total",
    }
    total = families["controller_runtime_reconcile_total"]
    assert total.label_names == ("controller", "result")
    assert {sample.labels[1]: sample.value for sample in total.samples} == {
        "success": 9,
        "error": 0,
        "requeue": 0,
        "requeue_after": 0,
    }
    assert {family.label_names for family in families.values() if family is not total} == {("controller",)}


def test_queues() -> None:
    families = {family.name: family for family in queue_families([Queue()])}
    assert set(families) == {
        "workqueue_depth",
        "workqueue_adds_total",
        "workqueue_retries_total",
        "workqueue_queue_duration_seconds",
        "workqueue_work_duration_seconds",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
    }
    depth = families["workqueue_depth"]
    assert depth.label_names == ("name", "controller", "priority")
    assert {sample.labels[2]: sample.value for sample in depth.samples} == {"0": 2, "-100": 5}
    empty = queue_families([Queue(depth={})])[0]
    assert [(sample.labels[2], sample.value) for sample in empty.samples] == [("-100", 0), ("0", 0)]


def test_informers_of_one_kind_are_added_up() -> None:
    kind = GroupVersionKind("apps", "v1", "StatefulSet")
    families = {
        family.name: family for family in cache_families([Informer(kind), Informer(kind, sign_of_life_age=None)])
    }
    (objects,) = families["pyoperator_cache_objects"].samples
    assert (objects.labels, objects.value) == (("apps/v1, Kind=StatefulSet",), 20)
    assert families["pyoperator_cache_bytes"].samples[0].value == 2000
    assert families["pyoperator_watch_age_seconds"].samples[0].value == 1.5
    assert families["pyoperator_reflector_relists_total"].samples[0].value == 2
    assert families["pyoperator_own_write_waits_total"].samples[0].value == 6
    assert families["pyoperator_own_write_timeouts_total"].samples[0].value == 2
    assert families["pyoperator_watch_failing_seconds"].samples == ()


def test_what_fails_is_told_by_kind_and_phase() -> None:
    kind = GroupVersionKind("apps", "v1", "StatefulSet")
    silent = [Informer(kind, failing_for=seconds, phase="silent") for seconds in (3.0, 7.0)]
    families = {
        family.name: family for family in cache_families([*silent, Informer(kind, failing_for=2.0, phase="list")])
    }
    failing = families["pyoperator_watch_failing_seconds"]
    assert failing.label_names == ("kind", "phase")
    told = [(sample.labels, sample.value) for sample in failing.samples]
    assert told == [((str(kind), "list"), 2.0), ((str(kind), "silent"), 7.0)]
