"""Services and the disruption budget: how instances are reached, and how many may be away at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postgres_operator import names
from pyoperator.objects import Unstructured

if TYPE_CHECKING:
    from postgres_operator.api import Postgres

_PORTS = [{"name": "postgres", "port": names.PORT, "targetPort": "postgres", "protocol": "TCP"}]


def build_read_write(postgres: Postgres) -> Unstructured:
    """Build the Service of the primary, which is always ordinal 0."""
    name = postgres.metadata.name
    primary = {**names.selector(name), "statefulset.kubernetes.io/pod-name": f"{name}-0"}
    return _service(
        postgres, names.read_write(name), "rw", type=postgres.spec.service.type, selector=primary, ports=_PORTS
    )


def build_read_only(postgres: Postgres) -> Unstructured:
    """Build the Service of all ready instances, for reads."""
    name = postgres.metadata.name
    return _service(
        postgres,
        names.read_only(name),
        "ro",
        type=postgres.spec.service.type,
        selector=names.selector(name),
        ports=_PORTS,
    )


def build_headless(postgres: Postgres) -> Unstructured:
    """Build the Service that gives pods their names; standbys must find a primary that is not ready yet."""
    name = postgres.metadata.name
    return _service(
        postgres,
        names.headless(name),
        "pods",
        type="ClusterIP",
        clusterIP="None",
        publishNotReadyAddresses=True,
        selector=names.selector(name),
        ports=_PORTS,
    )


def build_disruption_budget(postgres: Postgres) -> Unstructured:
    """Build the budget: one instance at a time may be evicted, and one that is broken anyway always may."""
    name = postgres.metadata.name
    budget = Unstructured.new(
        names.DISRUPTION_BUDGET,
        name,
        postgres.metadata.namespace,
        spec={
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector(name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )
    budget.metadata["labels"] = names.labels(postgres, "budget")
    return budget


def _service(postgres: Postgres, name: str, role: str, **spec: Any) -> Unstructured:
    service = Unstructured.new(names.SERVICE, name, postgres.metadata.namespace, spec=spec)
    service.metadata["labels"] = names.labels(postgres, role)
    return service
