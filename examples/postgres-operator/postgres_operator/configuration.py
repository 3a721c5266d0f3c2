"""The ConfigMap: server configuration and the script that runs an instance."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from postgres_operator import names
from pyoperator.objects import Unstructured

if TYPE_CHECKING:
    from postgres_operator.api import Postgres

# Parameters that the operator sets itself, or that would take the instance out of its reach.
RESERVED = frozenset(
    {
        "config_file",
        "data_directory",
        "external_pid_file",
        "hba_file",
        "hot_standby",
        "ident_file",
        "listen_addresses",
        "max_wal_senders",
        "port",
        "primary_conninfo",
        "primary_slot_name",
        "promote_trigger_file",
        "restore_command",
        "unix_socket_directories",
        "wal_level",
    }
)

_DEFAULTS = {
    "hot_standby": "on",
    "listen_addresses": "*",
    "max_wal_senders": "16",
    "unix_socket_directories": "/var/run/postgresql",
    "wal_keep_size": "256MB",
    "wal_level": "replica",
}

_HBA = """\
# TYPE  DATABASE     USER        ADDRESS  METHOD
local   all          all                  trust
host    replication  replicator  all      scram-sha-256
host    all          all         all      scram-sha-256
"""

# Read once: each reconcile puts it into the ConfigMap that it wants.
_RUN_SCRIPT = resources.files("postgres_operator").joinpath("run.sh").read_text("utf-8")


def parameter_faults(postgres: Postgres) -> list[str]:
    """Say what is wrong with ``spec.parameters``, as far as it can be seen without a server."""
    faults = []
    for name, value in sorted(postgres.spec.parameters.items()):
        if name.lower() in RESERVED:
            faults.append(f"{name} is set by the operator")
        elif not name.replace("_", "").replace(".", "").isalnum():
            faults.append(f"{name!r} is not the name of a parameter")
        elif "\n" in value or "\0" in value:
            faults.append(f"the value of {name} has a line break")
    return faults


def build(postgres: Postgres) -> Unstructured:
    """Build the ConfigMap; parameters with faults are left out (a condition tells)."""
    usable = {
        name: value
        for name, value in postgres.spec.parameters.items()
        if name.lower() not in RESERVED
        and name.replace("_", "").replace(".", "").isalnum()
        and "\n" not in value
        and "\0" not in value
    }
    settings = {**_DEFAULTS, **usable}
    config_map = Unstructured.new(
        names.CONFIG_MAP,
        names.configuration(postgres.metadata.name),
        postgres.metadata.namespace,
        data={
            "postgresql.conf": "".join(f"{name} = {_quote(value)}\n" for name, value in sorted(settings.items())),
            "pg_hba.conf": _HBA,
            "run.sh": _RUN_SCRIPT,
        },
    )
    config_map.metadata["labels"] = names.labels(postgres, "configuration")
    return config_map


def checksum(config_map: Unstructured) -> str:
    """Return a short checksum of the contents: a pod template that carries it rolls when they change."""
    digest = hashlib.sha256()
    for key, value in sorted(config_map["data"].items()):
        digest.update(f"{key}\0{value}\0".encode())
    return digest.hexdigest()[:16]


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
