"""From statistics records to series: names, labels and help texts, one function per kind of record.

Records are described structurally, so that this room imports none of the rooms that make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING, Literal, Protocol

from pyoperator.metrics._families import Family, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyoperator.metrics._event_loop import EventLoopStatistics
    from pyoperator.metrics._families import Histogram

    Kind = Literal["counter", "gauge", "histogram"]


REST_CLIENT_BOUNDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


# The two priorities that the library itself uses: always shown, so that an empty queue reads 0 and not as no data.
_USUAL_DEPTH = {-100: 0, 0: 0}


@dataclass(frozen=True, slots=True)
class _Buckets:
    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class QueueRecord(Protocol):
    """A work queue's statistics."""

    @property
    def name(self) -> str: ...
    @property
    def depth(self) -> Mapping[int, int]: ...
    @property
    def adds(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def queue_duration(self) -> Histogram: ...
    @property
    def work_duration(self) -> Histogram: ...
    @property
    def unfinished_work_seconds(self) -> float: ...
    @property
    def longest_running_processor_seconds(self) -> float: ...


class ControllerRecord(Protocol):
    """A controller's statistics; ``reconcile_total`` is by result: success, error, requeue, requeue_after."""

    @property
    def controller(self) -> str: ...
    @property
    def reconcile_total(self) -> Mapping[str, int]: ...
    @property
    def errors(self) -> int: ...
    @property
    def terminal_errors(self) -> int: ...
    @property
    def panics(self) -> int: ...
    @property
    def timeouts(self) -> int: ...
    @property
    def conflicts(self) -> int: ...
    @property
    def dead_letters(self) -> int: ...
    @property
    def event_errors(self) -> int: ...
    @property
    def reconcile_time(self) -> Histogram: ...
    @property
    def max_concurrent_reconciles(self) -> int: ...
    @property
    def active_workers(self) -> int: ...


class Durations(Protocol):
    """Counts per bucket of client-go's bounds, and the sum in seconds."""

    @property
    def counts(self) -> Sequence[int]: ...
    @property
    def total(self) -> float: ...


class ClientRecord(Protocol):
    """A transport's statistics: requests by (code, method, host), durations by (verb, host)."""

    @property
    def requests(self) -> Mapping[tuple[str, str, str], int]: ...
    @property
    def durations(self) -> Mapping[tuple[str, str], Durations]: ...


class InformerRecord(Protocol):
    """One informer's status; ``sign_of_life_age`` and ``failing_for`` in seconds, ``phase`` says what fails."""

    @property
    def kind(self) -> object: ...
    @property
    def lists(self) -> int: ...
    @property
    def watches(self) -> int: ...
    @property
    def relists(self) -> int: ...
    @property
    def objects(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def own_write_waits(self) -> int: ...
    @property
    def own_write_timeouts(self) -> int: ...
    @property
    def sign_of_life_age(self) -> float | None: ...
    @property
    def failing_for(self) -> float | None: ...
    @property
    def phase(self) -> str: ...


class CertificateRecord(Protocol):
    """A certificate watcher's counts."""

    @property
    def reads(self) -> int: ...
    @property
    def errors(self) -> int: ...


def queue_families(records: Iterable[QueueRecord]) -> list[Family]:
    """``workqueue_*``: one queue per controller, hence the same value for ``name`` and ``controller``."""
    queues = list(records)
    labels = ("name", "controller")
    both = [(queue.name, queue.name) for queue in queues]

    def family(name: str, text: str, kind: Kind, values: Sequence[float | Histogram]) -> Family:
        samples = tuple(Sample(pair, value) for pair, value in zip(both, values, strict=True))
        return Family(f"workqueue_{name}", text, kind, labels, samples)

    depth = tuple(
        Sample((queue.name, queue.name, str(priority)), count)
        for queue in queues
        for priority, count in {**_USUAL_DEPTH, **queue.depth}.items()
    )
    return [
        Family("workqueue_depth", "Items ready to be worked on, by priority.", "gauge", (*labels, "priority"), depth),
        family("adds_total", "Items that entered the queue.", "counter", [q.adds for q in queues]),
        family("retries_total", "Items added again after a failure.", "counter", [q.retries for q in queues]),
        family(
            "queue_duration_seconds",
            "Time an item waits before it is worked on.",
            "histogram",
            [q.queue_duration for q in queues],
        ),
        family(
            "work_duration_seconds", "Time it takes to work on an item.", "histogram", [q.work_duration for q in queues]
        ),
        family(
            "unfinished_work_seconds",
            "Sum of the time spent so far on items being worked on; growth without end means stuck workers.",
            "gauge",
            [q.unfinished_work_seconds for q in queues],
        ),
        family(
            "longest_running_processor_seconds",
            "Time the longest running worker has been at its item.",
            "gauge",
            [q.longest_running_processor_seconds for q in queues],
        ),
    ]


def controller_families(records: Iterable[ControllerRecord]) -> list[Family]:
    """``controller_runtime_*``; all four results are always present, so that rates start at zero."""
    controllers = list(records)

    def family(
        name: str,
        text: str,
        kind: Kind,
        values: Sequence[float | Histogram],
        prefix: str = "controller_runtime",
    ) -> Family:
        samples = tuple(Sample((c.controller,), value) for c, value in zip(controllers, values, strict=True))
        return Family(f"{prefix}_{name}", text, kind, ("controller",), samples)

    results = tuple(
        Sample((c.controller, result), count)
        for c in controllers
        for result, count in {"error": 0, "requeue": 0, "requeue_after": 0, "success": 0, **c.reconcile_total}.items()
    )
    return [
        Family(
            "controller_runtime_reconcile_total",
            "Reconciliations, by result.",
            "counter",
            ("controller", "result"),
            results,
        ),
        family("reconcile_errors_total", "Reconciliations that failed.", "counter", [c.errors for c in controllers]),
        family(
            "terminal_reconcile_errors_total",
            "Reconciliations that failed for good and are not retried.",
            "counter",
            [c.terminal_errors for c in controllers],
        ),
        family(
            "reconcile_panics_total",
            "Reconciliations that ended in an exception nobody foresaw.",
            "counter",
            [c.panics for c in controllers],
        ),
        family(
            "reconcile_timeouts_total",
            "Reconciliations cancelled by the reconciliation timeout.",
            "counter",
            [c.timeouts for c in controllers],
        ),
        family(
            "reconcile_time_seconds", "Length of reconciliations.", "histogram", [c.reconcile_time for c in controllers]
        ),
        family(
            "max_concurrent_reconciles",
            "Reconciliations that may run at once.",
            "gauge",
            [c.max_concurrent_reconciles for c in controllers],
        ),
        family("active_workers", "Workers that are busy now.", "gauge", [c.active_workers for c in controllers]),
        family(
            "reconcile_conflicts_total",
            "Failures that were conflicts.",
            "counter",
            [c.conflicts for c in controllers],
            "pyoperator",
        ),
        family(
            "dead_letters_total",
            "Keys given up after their retries.",
            "counter",
            [c.dead_letters for c in controllers],
            "pyoperator",
        ),
        family(
            "event_errors_total",
            "Events lost by a failing predicate or handler.",
            "counter",
            [c.event_errors for c in controllers],
            "pyoperator",
        ),
    ]


def client_families(records: Iterable[ClientRecord]) -> list[Family]:
    """``rest_client_*``."""
    clients = list(records)
    requests: dict[tuple[str, str, str], int] = {}
    durations: dict[tuple[str, str], _Buckets] = {}
    for client in clients:
        for key, count in client.requests.items():
            requests[key] = requests.get(key, 0) + count
        for labels, found in client.durations.items():
            known = durations.get(labels)
            durations[labels] = _Buckets(
                REST_CLIENT_BOUNDS,
                tuple(found.counts) if known is None else tuple(map(add, known.counts, found.counts)),
                found.total + (0.0 if known is None else known.total),
            )
    return [
        Family(
            "rest_client_requests_total",
            "Requests to the API server, by answer.",
            "counter",
            ("code", "method", "host"),
            tuple(Sample(key, count) for key, count in requests.items()),
        ),
        Family(
            "rest_client_request_duration_seconds",
            "Time to an API server's answer.",
            "histogram",
            ("verb", "host"),
            tuple(Sample(labels, histogram) for labels, histogram in durations.items()),
        ),
    ]


def election_families(name: str, *, leads: bool, slow_paths: int, transitions: int, refused: int) -> list[Family]:
    """``leader_election_*`` for the election ``name``; ``transitions`` counts changes seen by this process."""
    labels, values = ("name",), (name,)
    return [
        Family(
            "leader_election_master_status",
            "1 if this process leads, else 0.",
            "gauge",
            labels,
            (Sample(values, 1 if leads else 0),),
        ),
        Family(
            "leader_election_slowpath_total",
            "Renewals that had to read the Lease again.",
            "counter",
            labels,
            (Sample(values, slow_paths),),
        ),
        Family(
            "pyoperator_leader_transitions_total",
            "Times this process became or stopped being the leader.",
            "counter",
            labels,
            (Sample(values, transitions),),
        ),
        Family(
            "pyoperator_fenced_writes_refused_total",
            "Writes that the fence refused because this process does not lead.",
            "counter",
            labels,
            (Sample(values, refused),),
        ),
    ]


def cache_families(records: Iterable[InformerRecord]) -> list[Family]:
    """``pyoperator_reflector_*`` and ``pyoperator_cache_*`` per kind; several informers of one kind are added up."""
    by_kind: dict[str, list[InformerRecord]] = {}
    for record in records:
        by_kind.setdefault(str(record.kind), []).append(record)

    def family(name: str, text: str, kind: Kind, values: Mapping[str, float]) -> Family:
        samples = tuple(Sample((label,), value) for label, value in values.items())
        return Family(f"pyoperator_{name}", text, kind, ("kind",), samples)

    def summed(attribute: str) -> dict[str, float]:
        return {kind: sum(getattr(record, attribute) for record in found) for kind, found in by_kind.items()}

    ages = {
        kind: max(record.sign_of_life_age for record in found if record.sign_of_life_age is not None)
        for kind, found in by_kind.items()
        if any(record.sign_of_life_age is not None for record in found)
    }
    failing: dict[tuple[str, str], float] = {}
    for kind, found in by_kind.items():
        for record in found:
            if record.failing_for is not None:
                failing[kind, record.phase] = max(record.failing_for, failing.get((kind, record.phase), 0.0))
    return [
        family("reflector_lists_total", "Lists from the API server.", "counter", summed("lists")),
        family("reflector_watches_total", "Watches opened.", "counter", summed("watches")),
        family("reflector_relists_total", "Lists made because a watch could not go on.", "counter", summed("relists")),
        family(
            "own_write_waits_total",
            "Reads that waited until the cache had seen an own write.",
            "counter",
            summed("own_write_waits"),
        ),
        family(
            "own_write_timeouts_total",
            "Of those, the ones that waited in vain.",
            "counter",
            summed("own_write_timeouts"),
        ),
        family("cache_objects", "Objects in the cache.", "gauge", summed("objects")),
        family("cache_bytes", "Bytes of JSON that the cache holds.", "gauge", summed("bytes")),
        family("watch_age_seconds", "Time since the watch's last sign of life.", "gauge", ages),
        Family(
            "pyoperator_watch_failing_seconds",
            "Time since informers have not been fresh, and what fails (list, connect, stream, silent); absent if nothing.",
            "gauge",
            ("kind", "phase"),
            tuple(Sample(label, seconds) for label, seconds in sorted(failing.items())),
        ),
    ]


def certificate_families(records: Iterable[CertificateRecord]) -> list[Family]:
    """``certwatcher_read_certificate_*``, over all watchers."""
    found = list(records)
    return [
        Family(
            "certwatcher_read_certificate_total",
            "Times a certificate was read.",
            "counter",
            (),
            (Sample((), sum(record.reads for record in found)),),
        ),
        Family(
            "certwatcher_read_certificate_errors_total",
            "Times a certificate could not be used.",
            "counter",
            (),
            (Sample((), sum(record.errors for record in found)),),
        ),
    ]


def event_loop_families(record: EventLoopStatistics) -> list[Family]:
    """``pyoperator_event_loop_*``."""
    return [
        Family(
            "pyoperator_event_loop_lag_seconds",
            "How late the work loop runs what is due.",
            "histogram",
            (),
            (Sample((), record),),
        ),
        Family(
            "pyoperator_event_loop_lag_largest_seconds",
            "The largest lag since the start.",
            "gauge",
            (),
            (Sample((), record.largest),),
        ),
    ]


def health_families(failures: Mapping[str, Mapping[str, int]]) -> list[Family]:
    """``pyoperator_health_check_failures_total``; ``failures``: endpoint -> check -> count."""
    samples = tuple(
        Sample((endpoint, check), count) for endpoint, checks in failures.items() for check, count in checks.items()
    )
    return [
        Family(
            "pyoperator_health_check_failures_total",
            "Times a health check failed when it was asked.",
            "counter",
            ("endpoint", "check"),
            samples,
        )
    ]
