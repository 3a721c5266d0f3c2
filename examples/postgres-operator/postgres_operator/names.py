"""Names and labels of everything that belongs to one Postgres: deterministic, so that nothing can exist twice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from postgres_operator.api import Postgres

GROUP = "database.example.com"
MANAGER = "postgres-operator"
FINALIZER = f"{GROUP}/cleanup"

CLUSTER_LABEL = f"{GROUP}/cluster"
VERSION_LABEL = f"{GROUP}/postgres-version"
ROLE_LABEL = f"{GROUP}/role"
RETAINED_LABEL = f"{GROUP}/retained"
INTENT_ANNOTATION = f"{GROUP}/intent"
USERS_ANNOTATION = f"{GROUP}/users-checksum"
CONFIG_ANNOTATION = f"{GROUP}/config-checksum"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_SELECTOR = f"{MANAGED_BY}={MANAGER}"

SECRET = GroupVersionKind("", "v1", "Secret")
CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")
SERVICE = GroupVersionKind("", "v1", "Service")
CLAIM = GroupVersionKind("", "v1", "PersistentVolumeClaim")
STATEFUL_SET = GroupVersionKind("apps", "v1", "StatefulSet")
DISRUPTION_BUDGET = GroupVersionKind("policy", "v1", "PodDisruptionBudget")
CHILDREN = (SECRET, CONFIG_MAP, SERVICE, CLAIM, STATEFUL_SET, DISRUPTION_BUDGET)

PORT = 5432

# A pod's controller-revision-hash label is the StatefulSet's name, a dash and up to ten characters, at most 63 in all.
MAX_NAME = 52
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def name_fault(name: str) -> str | None:
    """Say why children can't be named after ``name``, or None."""
    if len(name) > MAX_NAME:
        return f"the name has {len(name)} characters; at most {MAX_NAME} leave room for the names of its children"
    if not _DNS_1035.fullmatch(name):
        return "the name must start with a letter and have only a-z, 0-9 and '-': Services are named after it"
    return None


def credentials(name: str) -> str:
    return f"{name}-credentials"


def configuration(name: str) -> str:
    return f"{name}-config"


def read_write(name: str) -> str:
    return f"{name}-rw"


def read_only(name: str) -> str:
    return f"{name}-ro"


def headless(name: str) -> str:
    return f"{name}-pods"


def selector(name: str) -> dict[str, str]:
    """Return the labels that select a cluster's pods; they never change once the StatefulSet exists."""
    return {CLUSTER_LABEL: name, "app.kubernetes.io/name": "postgres"}


def labels(postgres: Postgres, role: str) -> dict[str, str]:
    """Return the labels of a child with a role (``credentials``, ``rw`` ...)."""
    return {**selector(postgres.metadata.name), MANAGED_BY: MANAGER, ROLE_LABEL: role}
