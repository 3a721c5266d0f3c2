"""Judge high availability from outside: the API server's audit log and the objects at the end decide, not the replicas.

Each start of a process has a user of its own, so every request can be told apart. Works on the embedded server's log
and on kube-apiserver's alike: JSON lines of ``audit.k8s.io/v1``, with bodies for Lease writes and metadata for the rest.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyoperator.testing._audit_lines import LeaseWrite, Write, lease_writes_in, writes_in
from pyoperator.testing._lease_history import LeaseHistory, Tenure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class ProcessStart:
    """One start of one replica: its user at the API server, a name for people, and what was done to it.

    Times are Unix seconds by the clock that the API server's log uses. ``rolling``: its SIGTERM was part of a rolling
    update rather than a single one.
    """

    user: str
    label: str
    killed_at: float | None = None
    terminated_at: float | None = None
    rolling: bool = False


@dataclass(frozen=True, slots=True)
class ForeignWrite:
    """A write by a process that did not lead: ``why`` is ``never led``, ``deposed``, ``released`` or ``expired``."""

    write: Write
    why: str
    label: str

    def __str__(self) -> str:
        return f"{self.label}: {self.write} ({self.why})"


@dataclass(frozen=True, slots=True)
class Child:
    """What a child is to its owner: ``owner`` is any text that names the owner, ``role`` what it is there for."""

    owner: str
    role: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happened, measured; the last ten fields are the demo's JSON."""

    foreign_writes: tuple[ForeignWrite, ...] = ()
    overlaps: tuple[ForeignWrite, ...] = ()
    sigterm_ms: Mapping[str, float] = field(default_factory=dict)
    first_write_ms: tuple[float, ...] = ()
    leaders: tuple[str, ...] = ()
    tenures: tuple[Tenure, ...] = ()
    duplicate_children: tuple[str, ...] = ()
    not_reconciled: tuple[str, ...] = ()

    crash_takeover_s: float | None = None
    gap_ms: tuple[float, ...] = ()
    graceful_handover_ms: float | None = None
    rolling_handover_max_ms: float | None = None
    expected: int = 0
    reconciled: int = 0
    duplicates: int = 0
    writes_by_non_leader: int = 0
    lease_transitions: int = 0

    @property
    def clean(self) -> bool:
        """Tell whether nothing was lost, duplicated or foreign."""
        return self.reconciled == self.expected and not self.duplicates and not self.writes_by_non_leader

    def summary(self) -> dict[str, Any]:
        """Return the demo's JSON object; milliseconds and seconds rounded for reading."""
        return {
            "crash_takeover_s": _rounded(self.crash_takeover_s, 3),
            "gap_ms": [round(gap, 1) for gap in self.gap_ms],
            "graceful_handover_ms": _rounded(self.graceful_handover_ms, 1),
            "rolling_handover_max_ms": _rounded(self.rolling_handover_max_ms, 1),
            "expected": self.expected,
            "reconciled": self.reconciled,
            "duplicates": self.duplicates,
            "writes_by_non_leader": self.writes_by_non_leader,
            "lease_transitions": self.lease_transitions,
        }


def judge(
    events: Iterable[Mapping[str, Any]],
    *,
    lease_namespace: str,
    lease_name: str,
    processes: Sequence[ProcessStart],
    objects: Iterable[Mapping[str, Any]] = (),
    children: Iterable[Mapping[str, Any]] = (),
    child_of: Callable[[str, str, str], Child | None] = lambda resource, namespace, name: None,
    role_of: Callable[[Mapping[str, Any]], str | None] = lambda child: None,
    retained: Callable[[Mapping[str, Any]], bool] = lambda child: False,
    condition: str = "Ready",
    reaction: float = 0.0,
) -> Verdict:
    """Measure one run.

    ``events``: the audit log. ``objects``: the custom resources at the end; each counts as reconciled when
    ``status.observedGeneration`` equals its generation and ``condition`` is True. ``children``: what operators made and
    is there at the end; ``role_of(child)`` names its role (None: no child of ours), ``retained(child)`` tells that it
    was left behind on purpose. ``child_of(resource, namespace, name)`` says whose child a created object of that name
    is (None: not a child); its ``owner`` is compared with ``resource/namespace/name`` of deleted objects, so that a new
    owner of the same name may have children again. ``reaction``: seconds that a leader has to notice that somebody who
    is no process edited the Lease; its writes until then, or until a process takes the Lease, count as overlaps.
    """
    writes, lease = _read(events, lease_namespace, lease_name)
    labels = {process.user: process.label for process in processes}
    history = LeaseHistory(lease, labels)
    foreign, overlaps = _foreign(writes, history, labels, reaction)
    sigterm = {
        process.label: 1000.0 * taken
        for process in processes
        if (taken := history.takeover(process.user, process.terminated_at)) is not None
    }
    crashes = [
        taken for process in processes if (taken := history.takeover(process.user, process.killed_at)) is not None
    ]
    single = [sigterm[process.label] for process in processes if process.label in sigterm and not process.rolling]
    rolling = [sigterm[process.label] for process in processes if process.label in sigterm and process.rolling]
    gaps, firsts = _hand_overs(history, writes)
    objects, children = list(objects), list(children)
    live = [obj for obj in objects if not obj["metadata"].get("deletionTimestamp")]
    lost = [obj for obj in live if not _is_reconciled(obj, condition)]
    duplicates = _duplicates(writes, set(labels), live, children, child_of, role_of, retained)
    return Verdict(
        foreign_writes=tuple(foreign),
        overlaps=tuple(overlaps),
        sigterm_ms=sigterm,
        first_write_ms=tuple(firsts),
        leaders=tuple(_leaders(history, labels)),
        tenures=tuple(history.tenures()),
        duplicate_children=tuple(duplicates),
        not_reconciled=tuple(_name(obj) for obj in lost),
        crash_takeover_s=max(crashes, default=None),
        gap_ms=tuple(gaps),
        graceful_handover_ms=max(single, default=None),
        rolling_handover_max_ms=max(rolling, default=None),
        expected=len(live),
        reconciled=len(live) - len(lost),
        duplicates=len(duplicates),
        writes_by_non_leader=len(foreign),
        lease_transitions=history.writes[-1].transitions if history.writes else 0,
    )


def _read(events: Iterable[Mapping[str, Any]], namespace: str, name: str) -> tuple[list[Write], list[LeaseWrite]]:
    """Return all writes in the order in which they came in, and those of the Lease; a log is read once, line by line."""
    writes: list[Write] = []
    lease: list[LeaseWrite] = []
    for event in events:
        writes.extend(writes_in((event,)))
        lease.extend(lease_writes_in((event,), namespace, name))
    return sorted(writes, key=lambda write: write.received), lease


# Who led when.


def _leaders(history: LeaseHistory, labels: Mapping[str, str]) -> Iterator[str]:
    previous = ""
    for write in history.writes:
        if write.holder and write.holder != previous:
            yield labels.get(write.user, write.user)
        previous = write.holder


def _foreign(
    writes: Iterable[Write], history: LeaseHistory, labels: Mapping[str, str], reaction: float
) -> tuple[list[ForeignWrite], list[ForeignWrite]]:
    foreign: list[ForeignWrite] = []
    overlaps: list[ForeignWrite] = []
    for write in writes:
        if write.user not in labels or write.exempt:
            continue
        why = history.why_foreign(write, reaction)
        if why == "edited":
            overlaps.append(ForeignWrite(write, "edited by hand", labels[write.user]))
        elif why:
            foreign.append(ForeignWrite(write, why, labels[write.user]))
        elif history.was_overtaken(write):
            overlaps.append(ForeignWrite(write, "in flight", labels[write.user]))
    return foreign, overlaps


def _hand_overs(history: LeaseHistory, writes: Iterable[Write]) -> tuple[list[float], list[float]]:
    """Return, for each release, the milliseconds until the next acquisition and until the new leader's first write."""
    by_user: dict[str, list[Write]] = {}
    for write in writes:
        if not write.exempt:
            by_user.setdefault(write.user, []).append(write)
    gaps: list[float] = []
    firsts: list[float] = []
    for released, taken in history.hand_overs():
        gaps.append(1000.0 * (taken.completed - released.completed))
        own = by_user.get(taken.user, [])
        first = bisect_left(own, taken.received, key=lambda write: write.received)
        if first < len(own):
            firsts.append(1000.0 * (own[first].completed - released.completed))
    return gaps, firsts


# What is left at the end.


def _is_reconciled(obj: Mapping[str, Any], condition: str) -> bool:
    status = obj.get("status") or {}
    if status.get("observedGeneration") != obj["metadata"].get("generation"):
        return False
    return any(
        entry.get("type") == condition and entry.get("status") == "True" for entry in status.get("conditions") or ()
    )


def _duplicates(
    writes: Iterable[Write],
    users: set[str],
    owners: Sequence[Mapping[str, Any]],
    children: Sequence[Mapping[str, Any]],
    child_of: Callable[[str, str, str], Child | None],
    role_of: Callable[[Mapping[str, Any]], str | None],
    retained: Callable[[Mapping[str, Any]], bool],
) -> list[str]:
    made = list(_made_twice(writes, users, child_of))
    uids = {owner["metadata"]["uid"] for owner in owners}
    living: dict[tuple[str, str], list[str]] = {}
    orphans: list[str] = []
    for child in children:
        role = role_of(child)
        if role is None or child["metadata"].get("deletionTimestamp"):
            continue
        references = [reference["uid"] for reference in child["metadata"].get("ownerReferences") or ()]
        owner = next((uid for uid in references if uid in uids), None)
        if owner is not None:
            living.setdefault((owner, role), []).append(_name(child))
        elif not retained(child):
            orphans.append(f"{_name(child)} has no living owner")
    twice = [
        f"{name} is one too many as {role} of {owner}"
        for (owner, role), names in living.items()
        for name in sorted(names)[1:]
    ]
    # A second child seen in both places is one duplicate: the log and the final state are two views of it.
    return (made if len(made) >= len(twice) else twice) + orphans


def _made_twice(
    writes: Iterable[Write], users: set[str], child_of: Callable[[str, str, str], Child | None]
) -> Iterator[str]:
    made: set[Child] = set()
    by_name: dict[str, Child] = {}
    for write in writes:
        if write.subresource:
            continue
        path = f"{write.resource}/{write.namespace}/{write.name}"
        if write.verb == "create" and write.user in users:
            child = child_of(write.resource, write.namespace, write.name)
            if child is None:
                continue
            if child in made:
                yield f"{path} was created again as {child.role} of {child.owner} by {write.user}"
            made.add(child)
            by_name[path] = child
        elif write.verb == "create":
            # Children of its predecessor, made by a reconcile that its deletion overtook, are another's.
            made = {child for child in made if child.owner != path}
        elif write.verb == "delete":
            # The owner's deletion ends its children's lives; a child's by somebody else asks for it to be made again.
            made = {child for child in made if child.owner != path}
            if write.user not in users and path in by_name:
                made.discard(by_name[path])
        elif write.verb == "deletecollection" and write.user not in users:
            prefix = f"{write.resource}/{write.namespace}/" if write.namespace else f"{write.resource}/"
            made = {child for child in made if not child.owner.startswith(prefix)}
            for name, child in by_name.items():
                if name.startswith(prefix):
                    made.discard(child)


def _name(obj: Mapping[str, Any]) -> str:
    metadata = obj["metadata"]
    return f"{obj.get('kind', 'object')} {metadata.get('namespace', '')}/{metadata.get('name', '')}"


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
