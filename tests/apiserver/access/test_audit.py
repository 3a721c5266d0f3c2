from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.access import Attributes, AuditEntry, AuditLog, Decision, User

if TYPE_CHECKING:
    from pathlib import Path

BOB = User("bob", "bob-uid", ("devs",))
LEASE = Attributes("update", "coordination.k8s.io", "leases", namespace="ns", name="l1", version="v1")


def entry(attributes: Attributes, **fields: Any) -> AuditEntry:
    given: dict[str, Any] = {
        "audit_id": "id-1",
        "request_uri": "/x",
        "received": 1_795_261_014.071280,
        "completed": 1_795_261_014.072218,
        "code": 200,
        "user": BOB,
        "source_ips": ("127.0.0.1",),
        "user_agent": "x",
        "decision": Decision(allowed=True),
    }
    return AuditEntry(attributes=attributes, **{**given, **fields})


def test_a_line_has_the_real_ones_fields_in_its_order() -> None:
    event = entry(Attributes("get", "", "configmaps", namespace="ns", name="cm", version="v1")).event()
    assert list(event) == [
        "kind", "apiVersion", "level", "auditID", "stage", "requestURI", "verb", "user", "sourceIPs", "userAgent",
        "objectRef", "responseStatus", "requestReceivedTimestamp", "stageTimestamp", "annotations",
    ]  # fmt: skip
    assert event["level"] == "Metadata"
    assert event["user"] == {"username": "bob", "uid": "bob-uid", "groups": ["devs"]}
    assert event["objectRef"] == {"resource": "configmaps", "namespace": "ns", "name": "cm", "apiVersion": "v1"}
    assert event["responseStatus"] == {"metadata": {}, "code": 200}
    assert event["requestReceivedTimestamp"] == "2026-11-21T11:36:54.071280Z"
    assert event["stageTimestamp"] == "2026-11-21T11:36:54.072218Z"
    assert event["annotations"] == {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}


def test_lease_writes_carry_their_bodies() -> None:
    sent = {"metadata": {"name": "l1", "resourceVersion": "235", "uid": "u"}, "spec": {"holderIdentity": ""}}
    got = {"kind": "Lease", **sent}
    event = entry(LEASE, request_body=json.dumps(sent).encode(), response_body=json.dumps(got).encode()).event()
    assert event["level"] == "RequestResponse"
    assert event["requestObject"] == {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", **sent}
    assert event["responseObject"] == got
    assert event["objectRef"]["resourceVersion"] == "235"
    assert event["objectRef"]["uid"] == "u"


def test_secrets_never_show() -> None:
    created = Attributes("create", "", "secrets", namespace="ns", version="v1")
    body = json.dumps({"metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}}).encode()
    event = entry(created, code=201, request_body=body, response_body=body).event()
    assert event["objectRef"] == {"resource": "secrets", "namespace": "ns", "name": "s", "apiVersion": "v1"}
    assert "aHVudGVyMg" not in json.dumps(event)


def test_errors_show_their_status() -> None:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": "Conflict",
        "code": 409,
    }
    event = entry(LEASE, code=409, response_body=json.dumps(body).encode()).event()
    assert event["responseStatus"] == {"metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409}


def test_unauthenticated_and_impersonated_requests() -> None:
    event = entry(Attributes("get", path="/foo"), code=401, user=None, decision=None).event()
    assert event["stage"] == "ResponseStarted"
    assert event["user"] == {}
    assert "annotations" not in event
    assert "objectRef" not in event
    assert entry(LEASE, impersonated=User("alice")).event()["impersonatedUser"] == {"username": "alice"}


def test_bodies_that_are_not_json_are_left_out() -> None:
    event = entry(LEASE, request_body=b"a: b\n- {", response_body=b"\xff\xfe").event()
    assert "requestObject" not in event
    assert "responseObject" not in event


def test_a_file_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    log.record(entry(LEASE))
    assert json.loads(path.read_text())["auditID"] == "id-1"
    log.record(entry(LEASE))
    assert len(path.read_text().splitlines()) == 2
    log.close()
    log.record(entry(LEASE))
    assert (log.written, log.lost) == (2, 1)
    again = AuditLog(path)
    again.record(entry(LEASE))
    again.close()
    assert len(path.read_text().splitlines()) == 3
    assert path.stat().st_mode & 0o077 == 0


def test_memory_and_sinks() -> None:
    memory = AuditLog()
    memory.record(entry(LEASE))
    assert memory.events()[0]["verb"] == "update"

    class Full:
        def write(self, data: bytes, /) -> object:
            raise OSError("no space left")

    full = AuditLog(Full())
    full.record(entry(LEASE))
    assert (full.written, full.lost) == (0, 1)
