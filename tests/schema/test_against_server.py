"""Prune, default and validate as a real kube-apiserver (1.36) answered for the same custom resources."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pyoperator.schema import apply_defaults, check_structural, prune, validate

ANSWERS = json.loads((Path(__file__).parent / "server_answers.json").read_text())
SCHEMA: dict[str, Any] = ANSWERS["schema"]


def test_schema_is_structural() -> None:
    assert check_structural(SCHEMA) == []


@pytest.mark.parametrize("case", ANSWERS["cases"], ids=lambda case: json.dumps(case["spec"])[:60])
def test_same_answer(case: dict[str, Any]) -> None:
    spec = copy.deepcopy(case["spec"])
    if "i64" in spec:
        spec["i64"] = 10**19  # JSON test data keep it as a float
    obj = {"apiVersion": "v.example.com/v1", "kind": "Vec", "metadata": {"name": "x"}, "spec": spec}
    prune(SCHEMA, obj)
    apply_defaults(SCHEMA, obj)
    faults = validate(SCHEMA, obj)
    if case["status"] == 201:
        assert faults == []
        assert obj["spec"] == case["result"]
    else:
        ours = sorted((fault.field, fault.reason, fault.message) for fault in faults)
        assert ours == sorted((cause["field"], cause["reason"], cause["message"]) for cause in case["causes"])
