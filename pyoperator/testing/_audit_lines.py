"""Audit log lines as the judge needs them: successful writes, and what became of the election's Lease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.objects import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_MUTATING = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_REVIEW_GROUPS = frozenset({"authorization.k8s.io", "authentication.k8s.io"})


@dataclass(frozen=True, slots=True)
class Write:
    """A successful mutating request as the audit log tells it; times are Unix seconds."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    received: float
    completed: float
    uri: str
    audit_id: str = ""

    @property
    def exempt(self) -> bool:
        """Tell whether a standby may do this: election, events, questions, dry runs."""
        return (
            (self.group == "coordination.k8s.io" and self.resource == "leases")
            or self.resource == "events"
            or self.group in _REVIEW_GROUPS
            or "dryRun=All" in self.uri
        )

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.user} {self.verb} {what} {self.namespace}/{self.name} at {self.received:.6f}"


@dataclass(frozen=True, slots=True)
class LeaseWrite:
    """A successful write of the election's Lease: who then holds it, by whose hand, for how long."""

    user: str
    holder: str
    duration: float
    transitions: int
    version: int
    received: float
    completed: float


def read_audit(*paths: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the events of audit logs, each from byte ``start`` on; a last line that is still being written is left out."""
    for path in paths:
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                if line.endswith(b"\n") and line.strip():
                    yield msgspec.json.decode(line)


def writes_in(events: Iterable[Mapping[str, Any]]) -> Iterator[Write]:
    """Yield every successful mutating request."""
    for event in events:
        if not _succeeded(event):
            continue
        reference = event.get("objectRef") or {}
        yield Write(
            user=(event.get("user") or {}).get("username", ""),
            verb=event["verb"],
            group=reference.get("apiGroup", ""),
            resource=reference.get("resource", ""),
            subresource=reference.get("subresource", ""),
            namespace=reference.get("namespace", ""),
            name=reference.get("name", ""),
            received=parse_time(event["requestReceivedTimestamp"]),
            completed=parse_time(event["stageTimestamp"]),
            uri=event.get("requestURI", ""),
            audit_id=event.get("auditID", ""),
        )


def lease_writes_in(events: Iterable[Mapping[str, Any]], namespace: str, name: str) -> Iterator[LeaseWrite]:
    """Yield every successful write of one Lease; raises ValueError if the log lacks its body."""
    for event in events:
        reference = event.get("objectRef") or {}
        if (
            not _succeeded(event)
            or event["verb"] not in ("create", "update", "patch")
            or (reference.get("resource"), reference.get("apiGroup")) != ("leases", "coordination.k8s.io")
            or (reference.get("namespace"), reference.get("name")) != (namespace, name)
        ):
            continue
        stored = event.get("responseObject")
        if not stored or "spec" not in stored:
            raise ValueError(
                f"the audit event {event.get('auditID')} of a Lease write has no responseObject: "
                "log Lease writes at level RequestResponse"
            )
        spec = stored["spec"]
        yield LeaseWrite(
            user=(event.get("user") or {}).get("username", ""),
            holder=spec.get("holderIdentity") or "",
            duration=float(spec.get("leaseDurationSeconds") or 0),
            transitions=int(spec.get("leaseTransitions") or 0),
            version=int(stored["metadata"]["resourceVersion"]),
            received=parse_time(event["requestReceivedTimestamp"]),
            completed=parse_time(event["stageTimestamp"]),
        )


def _succeeded(event: Mapping[str, Any]) -> bool:
    return (
        event.get("stage") == "ResponseComplete"
        and event.get("verb") in _MUTATING
        and 200 <= int((event.get("responseStatus") or {}).get("code") or 0) < 300
    )
