"""The Secret with generated passwords, and the SQL that gives them to the roles: made once, never made again."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING, Any

from postgres_operator import names
from pyoperator.objects import Unstructured

if TYPE_CHECKING:
    from postgres_operator.api import Postgres

SUPERUSER_KEY = "superuser-password"
REPLICATION_KEY = "replication-password"
INIT_SQL_KEY = "init.sql"


def user_key(name: str) -> str:
    """Return the Secret's key of a role's password; a Secret's keys allow underscores."""
    return f"user-{name}-password"


def build(postgres: Postgres) -> Unstructured:
    """Build the Secret with fresh random passwords."""
    # The secrets module, not the injected randomness: a seed must never decide a password.
    passwords = {user.name: secrets.token_urlsafe(24) for user in postgres.spec.users}
    data = {
        SUPERUSER_KEY: secrets.token_urlsafe(24),
        REPLICATION_KEY: secrets.token_urlsafe(24),
        **{user_key(name): password for name, password in passwords.items()},
        INIT_SQL_KEY: init_sql(postgres, passwords),
    }
    secret = Unstructured.new(
        names.SECRET,
        names.credentials(postgres.metadata.name),
        postgres.metadata.namespace,
        type="Opaque",
        data={key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    )
    secret.metadata["labels"] = names.labels(postgres, "credentials")
    secret.metadata["annotations"] = {names.USERS_ANNOTATION: users_checksum(postgres)}
    return secret


def users_checksum(postgres: Postgres) -> str:
    """Return a checksum of the wanted roles and databases; the Secret carries the one that it was made for."""
    wanted = [f"user {user.name} {user.superuser}" for user in postgres.spec.users]
    wanted += [f"database {database.name} {database.owner}" for database in postgres.spec.databases]
    return hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()[:16]


def user_faults(postgres: Postgres) -> list[str]:
    """Say why the wanted roles and databases could not be made."""
    roles = {user.name for user in postgres.spec.users}
    faults = [
        f"the role {name} is reserved"
        for name in sorted(roles)
        if name in {"postgres", "replicator", "public", "none"} or name.startswith("pg_")
    ]
    for database in postgres.spec.databases:
        if database.name in {"postgres", "template0", "template1"}:
            faults.append(f"the database {database.name} is reserved")
        if database.owner not in roles and database.owner != "postgres":
            faults.append(f"the owner {database.owner} of database {database.name} is not among spec.users")
    return faults


def missing_keys(secret: dict[str, Any]) -> list[str]:
    """Return the keys without which an instance can't start."""
    data = secret.get("data") or {}
    return [key for key in (SUPERUSER_KEY, REPLICATION_KEY, INIT_SQL_KEY) if not data.get(key)]


def init_sql(postgres: Postgres, passwords: dict[str, str]) -> str:
    """Return the statements that make the wanted roles and databases; names are checked by the schema, quoted here."""
    lines = []
    for user in postgres.spec.users:
        rights = " SUPERUSER" if user.superuser else ""
        lines.append(f"CREATE ROLE {_identifier(user.name)} LOGIN{rights} PASSWORD {_literal(passwords[user.name])};")
    lines.extend(
        f"CREATE DATABASE {_identifier(database.name)} OWNER {_identifier(database.owner)};"
        for database in postgres.spec.databases
    )
    return "".join(f"{line}\n" for line in lines) or "-- no roles or databases were asked for\n"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
