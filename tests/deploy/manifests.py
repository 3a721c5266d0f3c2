"""The objects of ``config/``, and its rules one verb at a time."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="MISSING TOOL: kubectl: config/ was not built")


def build(folder: Path) -> list[dict[str, Any]]:
    """Build a kustomization."""
    assert KUBECTL is not None
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return [obj for obj in yaml.safe_load_all(done.stdout) if obj]


def of_kind(objects: Iterable[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the only object of a kind."""
    (found,) = [obj for obj in objects if obj["kind"] == kind]
    return found


def read(*parts: str) -> dict[str, Any]:
    """Read a file of one object."""
    loaded: dict[str, Any] = yaml.safe_load(CONFIG.joinpath(*parts).read_text())
    return loaded


def roles() -> list[dict[str, Any]]:
    """Return the operator's roles, the Role with the namespace that config/default gives it."""
    cluster, election = read("rbac", "role.yaml"), read("rbac", "leader_election_role.yaml")
    election["metadata"]["namespace"] = "postgres-operator-system"
    return [cluster, election]


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One verb on one resource; ``resource`` includes the subresource, ``named``: only on the Lease."""

    group: str
    resource: str
    verb: str
    named: bool = False

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def grants(all_roles: Iterable[dict[str, Any]]) -> Iterator[Grant]:
    """Yield every single permission of the roles."""
    for role in all_roles:
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield Grant(group, resource, verb, "resourceNames" in rule)


def without(removed: Grant | None, all_roles: Iterable[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Return the roles without one permission."""
    reduced = []
    for role in roles() if all_roles is None else all_roles:
        rules = []
        for rule in role["rules"]:
            for resource in rule["resources"]:
                verbs = [
                    verb
                    for verb in rule["verbs"]
                    if Grant(rule["apiGroups"][0], resource, verb, "resourceNames" in rule) != removed
                ]
                if verbs:
                    rules.append({**rule, "resources": [resource], "verbs": verbs})
        reduced.append({**role, "rules": rules})
    return reduced


def enforcing_roles() -> list[dict[str, Any]]:
    """Return the operator's roles with the option for clusters that enforce permissions on owner references."""
    cluster, election = roles()
    operations = yaml.safe_load((CONFIG / "owner-reference-permissions" / "rules.yaml").read_text())
    return [{**cluster, "rules": [*cluster["rules"], *(operation["value"] for operation in operations)]}, election]


def used(events: Iterable[dict[str, Any]], user: str, *, streamed_is_listed: bool = False) -> set[Grant]:
    """Return the permissions that a user made use of, by the audit log; reviews of its own rights apart.

    ``streamed_is_listed``: count a watch that brought the whole state as a list too. It needs no permission to list, but
    what asked for it lists where the server doesn't stream (or a proxy cuts the stream).
    """
    found = set()
    for event in events:
        reference = event.get("objectRef") or {}
        if event["user"]["username"] != user or not reference or event["stage"] != "ResponseComplete":
            continue
        group, resource = reference.get("apiGroup", ""), reference["resource"]
        if resource == "selfsubjectaccessreviews":
            continue  # everybody may: system:basic-user
        if "subresource" in reference:
            resource += f"/{reference['subresource']}"
        verbs = [event["verb"]]
        if streamed_is_listed and "sendInitialEvents=true" in event["requestURI"]:
            verbs.append("list")
        found |= {Grant(group, resource, verb, resource == "leases" and verb != "create") for verb in verbs}
    return found
