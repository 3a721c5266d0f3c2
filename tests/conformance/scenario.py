"""Scenarios are data: YAML files of requests, run in order against any server that speaks Kubernetes' API."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from tests.conformance.normal import Normaliser

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent
# A path's first segment may be one of these.
COLLECTIONS = {
    "ns": "/api/v1/namespaces",
    "cm": "/api/v1/namespaces/{ns}/configmaps",
    "secrets": "/api/v1/namespaces/{ns}/secrets",
    "services": "/api/v1/namespaces/{ns}/services",
    "sa": "/api/v1/namespaces/{ns}/serviceaccounts",
    "pods": "/api/v1/namespaces/{ns}/pods",
    "pvc": "/api/v1/namespaces/{ns}/persistentvolumeclaims",
    "events": "/api/v1/namespaces/{ns}/events",
    "newevents": "/apis/events.k8s.io/v1/namespaces/{ns}/events",
    "leases": "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
    "sts": "/apis/apps/v1/namespaces/{ns}/statefulsets",
    "deploy": "/apis/apps/v1/namespaces/{ns}/deployments",
    "pdb": "/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets",
    "roles": "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings",
    "clusterroles": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "crds": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "widgets": "/apis/{ns}.example.com/v1/namespaces/{ns}/widgets",
}
COMPACT = "COMPACT"  # instead of a request
PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    watch: bool


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    warnings: tuple[str, ...]
    body: bytes


class Side(Protocol):
    """A server under examination."""

    def ask(self, request: Request) -> Answer: ...

    def compact(self) -> None:
        """Forget all history."""
        ...

    def pause(self) -> bool:
        """Let time pass before a request is repeated; False when nothing would change."""
        ...


@dataclass(frozen=True, slots=True)
class Scenario:
    """``steps`` as in the file: ``do`` is "METHOD path?query", or COMPACT; see the keys read in ``_request``."""

    area: str
    name: str
    before: tuple[Mapping[str, Any], ...]
    steps: tuple[Mapping[str, Any], ...]

    @property
    def compacts(self) -> bool:
        return any(step["do"] == COMPACT for step in self.steps)

    def run(self, side: Side, namespace: str) -> list[dict[str, Any]]:
        """Return the normalised answers of the steps."""
        saved = {"ns": namespace}
        made = {"do": "POST ns", "body": {"metadata": {"name": namespace}}}
        for step in (made, *self.before):
            answer = _ask(side, step, saved)
            assert answer.status < 300, (step, answer)
        normaliser = Normaliser(namespace)
        results = []
        for step in self.steps:
            answer = _ask(side, step, saved)
            for name, path in (step.get("save") or {}).items():
                saved[name] = str(_at(json.loads(answer.body), path))
            results.append(normaliser.answer(answer, served_only=bool(step.get("served_only"))))
        return results


def _ask(side: Side, step: Mapping[str, Any], saved: Mapping[str, str]) -> Answer:
    if step["do"] == COMPACT:
        side.compact()
        return Answer(200, "text/plain", (), b"")
    request = _request(step, saved)
    answer = side.ask(request)
    wanted = step.get("until")
    while wanted is not None and answer.status != wanted and side.pause():
        answer = side.ask(request)
    return answer


def _request(step: Mapping[str, Any], saved: Mapping[str, str]) -> Request:
    known = {"do", "body", "raw", "type", "accept", "as", "headers", "save", "until", "size", "served_only"}
    assert set(step) <= known, set(step) - known
    method, _, target = str(step["do"]).partition(" ")
    if not target.startswith("/"):
        name = re.match(r"[a-z]+", target)
        assert name is not None, target
        target = COLLECTIONS[name[0]] + target[name.end() :]
    body = b""
    headers = {"accept": "application/json"}
    if "raw" in step:
        body = _filled(step["raw"], saved).encode()
    elif "size" in step:
        body = json.dumps({"metadata": {"name": "big"}, "data": {"k": "x" * step["size"]}}).encode()
    elif "body" in step:
        body = _filled(json.dumps(step["body"]), saved).encode()
    if body:
        headers["content-type"] = PATCHES.get(step.get("type", ""), step.get("type", "application/json"))
    if "accept" in step:
        headers["accept"] = step["accept"]
    if "as" in step:
        headers["impersonate-user"] = _filled(step["as"], saved)
    headers.update({name.lower(): value for name, value in (step.get("headers") or {}).items()})
    return Request(method, _filled(target, saved), headers, body, "watch=" in target and method == "GET")


def _filled(text: str, saved: Mapping[str, str]) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda found: saved.get(found[1], found[0]), text)


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def load() -> list[Scenario]:
    """Read every scenario; names are unique within an area, which is a file."""
    found: list[Scenario] = []
    for file in sorted((HERE / "scenarios").glob("*.yaml")):
        document = yaml.safe_load(file.read_text())
        preludes = document.get("before") or {}
        for name, entry in document["scenarios"].items():
            steps, before = (entry, "") if isinstance(entry, list) else (entry["steps"], entry["before"])
            prelude = tuple(preludes[before]) if before else ()
            found.append(Scenario(file.stem, name, prelude, tuple(steps)))
    return found


def recorded(area: str) -> dict[str, list[dict[str, Any]]]:
    """Return what the real server answered: for each scenario of an area, one answer per step."""
    file = HERE / "recorded" / f"{area}.json"
    answers: dict[str, list[dict[str, Any]]] = json.loads(file.read_text()) if file.exists() else {}
    return answers
