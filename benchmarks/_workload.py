"""The workload's kind: a Database of 2.8 KB of JSON on the server, as the peers' programs have it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pyoperator.objects import Condition, CustomResource, Model

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMESPACE = "default"
CREATED_ANNOTATION = "bench/created"
"""Unix nanoseconds at which the load driver made the object; ``latency`` measures from there."""
CHURN_BASE = 900_000
"""Numbers of churned objects begin here, so that their names (``db-9...``) tell them from seeded ones."""


class Storage(Model):
    size: str = ""
    class_name: str = ""


class User(Model):
    name: str = ""
    roles: list[str] = Field(default_factory=list)


class DatabaseSpec(Model):
    version: str
    replicas: int = Field(ge=1)
    storage: Storage | None = None
    parameters: dict[str, str] = Field(default_factory=dict)
    users: list[User] = Field(default_factory=list)


class DatabaseStatus(Model):
    observed_generation: int = 0
    ready_replicas: int = 0
    phase: str = ""
    conditions: list[Condition] = Field(default_factory=list)


class Database(CustomResource, group="bench.example.com", version="v1", short_names=("bdb",)):
    spec: DatabaseSpec
    status: DatabaseStatus | None = None


def definition() -> Mapping[str, Any]:
    """Return the CustomResourceDefinition of Database."""
    from pyoperator.schema import crd_manifest

    return crd_manifest(Database)


def name_of(number: int) -> str:
    return f"db-{number:06d}"


def database(number: int) -> dict[str, Any]:
    """Return the manifest of one object, stamped with the time of now: 20 parameters, 5 users."""
    return {
        "apiVersion": "bench.example.com/v1",
        "kind": "Database",
        "metadata": {
            "name": name_of(number),
            "namespace": NAMESPACE,
            "labels": {"app": "database", "tier": ("gold", "silver", "bronze")[number % 3], "shard": str(number % 16)},
            "annotations": {CREATED_ANNOTATION: str(time.time_ns())},
        },
        "spec": {
            "version": "16.4",
            "replicas": 3,
            "storage": {"size": "100Gi", "className": "fast-ssd"},
            "parameters": {f"param_{k:02d}": f"value-{number}-{k}" for k in range(20)},
            "users": [{"name": f"user{k}", "roles": ["read", "write"]} for k in range(5)],
        },
    }


def first_status() -> dict[str, Any]:
    """Return the status that seeding gives each object: four conditions."""
    condition = {
        "status": "True",
        "reason": "Seeded",
        "message": "seeded by the driver for the benchmark",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {
        "observedGeneration": 0,
        "readyReplicas": 3,
        "phase": "Pending",
        "conditions": [{"type": kind, **condition} for kind in ("Ready", "Progressing", "Degraded", "Available")],
    }
