"""The StatefulSet that runs the instances, and their volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postgres_operator import credentials, names
from pyoperator.objects import Unstructured

if TYPE_CHECKING:
    from postgres_operator.api import Postgres

_CONFIG_DIR = "/etc/postgres-operator"
_SECRETS_DIR = "/etc/postgres-operator-secrets"
_DATA_DIR = "/var/lib/postgresql/data"
_USER_ID = 999  # postgres in the official image


def build(postgres: Postgres, *, config_checksum: str) -> Unstructured:
    """Build the StatefulSet; ``config_checksum`` in its template rolls the pods when the configuration changes."""
    name = postgres.metadata.name
    stateful_set = Unstructured.new(
        names.STATEFUL_SET,
        name,
        postgres.metadata.namespace,
        spec={
            "replicas": postgres.spec.instances,
            "serviceName": names.headless(name),
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": names.selector(name)},
            "template": {
                "metadata": {
                    "labels": {**names.labels(postgres, "instance"), names.VERSION_LABEL: postgres.spec.version},
                    "annotations": {names.CONFIG_ANNOTATION: config_checksum},
                },
                "spec": _pod(postgres),
            },
            "volumeClaimTemplates": [_claim(postgres)],
        },
    )
    stateful_set.metadata["labels"] = {
        **names.labels(postgres, "instances"),
        names.VERSION_LABEL: postgres.spec.version,
    }
    return stateful_set


def claim_labels(postgres: Postgres) -> dict[str, str]:
    """Return the labels of the volumes' claims; the version tells later what wrote them."""
    return {**names.labels(postgres, "data"), names.VERSION_LABEL: postgres.spec.version}


def _claim(postgres: Postgres) -> dict[str, Any]:
    storage = postgres.spec.storage
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": str(storage.size)}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {"metadata": {"name": "data", "labels": claim_labels(postgres)}, "spec": spec}


def _pod(postgres: Postgres) -> dict[str, Any]:
    name = postgres.metadata.name
    return {
        # Preferred, not required: three instances must still start on two nodes.
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchLabels": names.selector(name)},
                        },
                    }
                ]
            }
        },
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER_ID,
            "runAsGroup": _USER_ID,
            "fsGroup": _USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # A fast shutdown writes a checkpoint; a kill before its end means crash recovery at the next start.
        "terminationGracePeriodSeconds": 60,
        "containers": [_container(postgres)],
        "volumes": [
            {"name": "config", "configMap": {"name": names.configuration(name), "defaultMode": 0o444}},
            {
                "name": "secrets",
                "secret": {
                    "secretName": names.credentials(name),
                    "defaultMode": 0o440,
                    "items": [{"key": credentials.INIT_SQL_KEY, "path": credentials.INIT_SQL_KEY}],
                },
            },
            {"name": "run", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _container(postgres: Postgres) -> dict[str, Any]:
    name, namespace, spec = postgres.metadata.name, postgres.metadata.namespace, postgres.spec
    ready = {"exec": {"command": ["pg_isready", "-h", "127.0.0.1", "-p", str(names.PORT), "-U", "postgres"]}}
    container: dict[str, Any] = {
        "name": "postgres",
        "image": spec.image or f"docker.io/library/postgres:{spec.version}",
        "command": ["/bin/sh", f"{_CONFIG_DIR}/run.sh"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "PGDATA", "value": f"{_DATA_DIR}/pgdata"},
            {"name": "PGPORT", "value": str(names.PORT)},
            {"name": "CONFIG_DIR", "value": _CONFIG_DIR},
            {"name": "INIT_SQL", "value": f"{_SECRETS_DIR}/{credentials.INIT_SQL_KEY}"},
            {"name": "PRIMARY_HOST", "value": f"{name}-0.{names.headless(name)}.{namespace}.svc"},
            _secret_variable("SUPERUSER_PASSWORD", name, credentials.SUPERUSER_KEY),
            _secret_variable("REPLICATION_PASSWORD", name, credentials.REPLICATION_KEY),
        ],
        "ports": [{"name": "postgres", "containerPort": names.PORT, "protocol": "TCP"}],
        # A first start copies or initialises a whole database: half an hour before liveness counts.
        "startupProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 360},
        "livenessProbe": {**ready, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "data", "mountPath": _DATA_DIR},
            {"name": "config", "mountPath": _CONFIG_DIR, "readOnly": True},
            {"name": "secrets", "mountPath": _SECRETS_DIR, "readOnly": True},
            {"name": "run", "mountPath": "/var/run/postgresql"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a mount of the container's own
        ],
    }
    amounts = {
        kind: {resource: str(amount) for resource, amount in sorted(wanted.items())}
        for kind, wanted in (("requests", spec.resources.requests), ("limits", spec.resources.limits))
        if wanted
    }
    if amounts:
        container["resources"] = amounts
    return container


def _secret_variable(variable: str, name: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": names.credentials(name), "key": key}}}
