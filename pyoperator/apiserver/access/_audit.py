"""The audit log: one JSON line per request, in the form of ``audit.k8s.io/v1`` that kube-apiserver writes.

Writes of Leases carry their bodies (level RequestResponse), everything else is metadata only: leader election can be
judged from the log, and no Secret ever gets into it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from pyoperator.objects import format_micro_time, partial_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from pyoperator.apiserver.access._authorizer import Attributes, Decision
    from pyoperator.apiserver.access._identity import User

Stage = Literal["ResponseStarted", "ResponseComplete"]

_COORDINATION = "coordination.k8s.io"
_WRITES = frozenset({"create", "update", "patch", "delete"})


class Sink(Protocol):
    """Where lines go: anything with ``write(bytes)``; whole lines, in order."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request as the log tells it.

    ``received`` and ``completed`` are Unix seconds; ``code`` is the HTTP status. Bodies are JSON bytes as they came and
    went: they are read only where the log shows them (Lease writes, errors, answers to a delete) and for the name of
    a created object. ``request_body`` of another media type is left out.
    """

    audit_id: str
    request_uri: str
    received: float
    completed: float
    attributes: Attributes
    code: int
    user: User | None = None
    impersonated: User | None = None
    source_ips: tuple[str, ...] = ()
    user_agent: str = ""
    decision: Decision | None = None
    request_body: bytes = b""
    response_body: bytes = b""
    stage: Stage = "ResponseComplete"

    @property
    def with_bodies(self) -> bool:
        what = self.attributes
        return what.group == _COORDINATION and what.resource == "leases" and what.verb in _WRITES

    def event(self) -> dict[str, Any]:
        """Return the audit event, fields in the order of the original."""
        event: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "RequestResponse" if self.with_bodies else "Metadata",
            "auditID": self.audit_id,
            # A request that nobody is known for ends before it is handled; the original logs its start only.
            "stage": "ResponseStarted" if self.user is None and self.code == 401 else self.stage,
            "requestURI": self.request_uri,
            "verb": self.attributes.verb,
            "user": self.user.info() if self.user is not None else {},
        }
        if self.impersonated is not None:
            event["impersonatedUser"] = self.impersonated.info()
        if self.source_ips:
            event["sourceIPs"] = list(self.source_ips)
        if self.user_agent:
            event["userAgent"] = self.user_agent
        if self.attributes.resource:
            event["objectRef"] = self._object_reference()
        event["responseStatus"] = self._response_status()
        if self.with_bodies:
            for key, body in (("requestObject", self.request_body), ("responseObject", self.response_body)):
                embedded = _embedded(body)
                if embedded is None:
                    continue
                if (
                    isinstance(embedded, dict)
                    and key == "requestObject"
                    and self.attributes.verb in ("create", "update")
                ):
                    # The original logs the decoded object, whose kind is known even if the client left it out.
                    embedded = {"kind": "Lease", "apiVersion": f"{_COORDINATION}/{self.attributes.version}", **embedded}
                event[key] = embedded
        event["requestReceivedTimestamp"] = format_micro_time(self.received)
        event["stageTimestamp"] = format_micro_time(self.completed)
        if self.decision is not None:
            event["annotations"] = {
                "authorization.k8s.io/decision": "allow" if self.decision.allowed else "forbid",
                "authorization.k8s.io/reason": self.decision.reason,
            }
        return event

    def _object_reference(self) -> dict[str, str]:
        what = self.attributes
        name, uid, version = what.name, "", ""
        if self.request_body and what.verb in ("create", "update"):
            try:
                metadata = partial_metadata(self.request_body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass  # not JSON, or no object: the reference is what the path says
            else:
                name, uid, version = name or metadata.name, metadata.uid, metadata.resource_version
        fields = {
            "resource": what.resource,
            "namespace": what.namespace,
            "name": name,
            "uid": uid,
            "apiGroup": what.group,
            "apiVersion": what.version,
            "resourceVersion": version,
            "subresource": what.subresource,
        }
        return {key: value for key, value in fields.items() if value}

    def _response_status(self) -> dict[str, Any]:
        if self.response_body and (self.code >= 400 or self.attributes.verb == "delete"):
            try:
                body = msgspec.json.decode(self.response_body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                body = None
            if isinstance(body, dict) and body.get("kind") == "Status":
                shown = {key: value for key, value in body.items() if key not in ("kind", "apiVersion", "code")}
                return {"metadata": {}, **shown, "code": self.code}
        return {"metadata": {}, "code": self.code}


class AuditLog:
    """Write audit events as lines, each at once and whole, so that a reader may follow the running server's log.

    ``target``: a file (appended to), any :class:`Sink`, or None to keep the lines in memory (``lines``). A line that
    cannot be written (disk full) is counted in ``lost`` and the request goes on.
    """

    def __init__(self, target: Path | Sink | None = None) -> None:
        self.lines: list[bytes] = []
        self.written: int = 0
        self.lost: int = 0
        self._target = target
        self._encoder = msgspec.json.Encoder()
        self._sink: Sink | None = None
        self._file: int | None = None
        if target is not None:
            if hasattr(target, "write"):
                self._sink = target
            else:
                # Unbuffered append: one write per line is atomic among writers, and nothing is left in a dying process.
                self._file = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def record(self, entry: AuditEntry) -> None:
        """Write one line."""
        line = self._encoder.encode(entry.event()) + b"\n"
        try:
            if self._file is not None:
                _write_whole(self._file, line)
            elif self._sink is not None:
                self._sink.write(line)
            else:
                self.lines.append(line)
        except OSError:
            self.lost += 1
        else:
            self.written += 1

    def events(self) -> list[dict[str, Any]]:
        """Return what was kept in memory, decoded."""
        return [msgspec.json.decode(line) for line in self.lines]

    def close(self) -> None:
        """Close the file; later records are lost (and counted)."""
        if self._file is not None:
            file, self._file = self._file, None
            self._sink = _Closed()
            os.close(file)

    def __repr__(self) -> str:
        where = "memory" if self._target is None else str(self._target)
        return f"AuditLog({where!r}, written={self.written}, lost={self.lost})"


class _Closed:
    def write(self, data: bytes, /) -> object:
        raise OSError("the audit log is closed")


def _write_whole(file: int, line: bytes) -> None:
    done = os.write(file, line)
    while done < len(line):  # a signal or a full pipe can cut a write short
        done += os.write(file, line[done:])


def _embedded(body: bytes) -> Any:
    """Return a body that is a JSON object (or a JSON patch), None for anything else."""
    if not body:
        return None
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return decoded if isinstance(decoded, dict | list) else None
