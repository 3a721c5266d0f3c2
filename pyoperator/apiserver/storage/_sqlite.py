"""A store's objects in a directory: SQLite in WAL mode, one server at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from pyoperator.apiserver.storage._stored_object import StoredObject
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyoperator.apiserver.storage._change import Change

_SCHEMA = """
create table if not exists objects (
    resource text not null, key text not null, grp text not null, version text not null, kind text not null,
    namespace text not null, name text not null, uid text not null, revision integer not null,
    data blob not null, labels blob not null, fields blob not null, primary key (resource, key)
) without rowid;
create table if not exists reached (one integer primary key check (one = 1), revision integer not null);
insert or ignore into reached values (1, 1);
"""


class DirectoryInUse(RuntimeError):
    """Another server has the data directory; the message names its process."""


class DirectoryUnusable(RuntimeError):
    """The data directory can't be opened or holds something else; the message says why."""


class SQLitePersistence:
    """Write each commit to ``folder/objects.db`` before it becomes visible.

    What was acknowledged survives the death of the process; with ``fsync`` also a power cut (each commit then waits for
    the disk). The folder is locked for the life of this object: raises DirectoryInUse or DirectoryUnusable.
    """

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self._lock = _lock(folder)
        try:
            self._database = sqlite3.connect(folder / "objects.db", isolation_level=None)
            (folder / "objects.db").chmod(0o600)
            self._database.execute("pragma journal_mode=wal")
            self._database.execute(f"pragma synchronous={'full' if fsync else 'normal'}")
            self._database.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            os.close(self._lock)
            raise DirectoryUnusable(
                f"the data directory {folder} can't be opened ({error}); give data_dir (--data-dir) another directory"
            ) from error

    def load(self) -> tuple[int, Iterator[StoredObject]]:
        """Return the revision reached and all objects."""
        (revision,) = self._database.execute("select revision from reached").fetchone()
        return revision, self._objects()

    def _objects(self) -> Iterator[StoredObject]:
        rows = self._database.execute(
            "select resource, grp, version, kind, namespace, name, uid, revision, data, labels, fields from objects"
        )
        for resource, group, version, kind, namespace, name, uid, revision, data, labels, fields in rows:
            yield StoredObject(
                resource=resource,
                gvk=GroupVersionKind(group, version, kind),
                namespace=namespace,
                name=name,
                uid=uid,
                revision=revision,
                data=bytes(data),
                labels=msgspec.json.decode(labels),
                fields=msgspec.json.decode(fields),
            )

    def write(self, change: Change) -> None:
        """Write one change and the revision it reaches, in one transaction."""
        new = change.new
        database = self._database
        database.execute("begin immediate")
        try:
            if change.type == "DELETED":
                database.execute("delete from objects where resource = ? and key = ?", (new.resource, new.key))
            else:
                database.execute(
                    "insert or replace into objects values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        new.resource,
                        new.key,
                        *new.gvk,
                        new.namespace,
                        new.name,
                        new.uid,
                        new.revision,
                        new.data,
                        msgspec.json.encode(new.labels),
                        msgspec.json.encode(new.fields),
                    ),
                )
            database.execute("update reached set revision = ?", (change.revision,))
            database.execute("commit")
        except BaseException:
            database.execute("rollback")
            raise

    def close(self) -> None:
        """Close the database and give the directory free; idempotent."""
        if self._lock >= 0:
            self._database.close()
            os.close(self._lock)
            self._lock = -1


def _lock(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DirectoryUnusable(
            f"the data directory {folder} can't be used ({error.strerror}); give data_dir (--data-dir) a writable directory"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise DirectoryInUse(
            f"the data directory {folder} is used by another server (process {holder}); stop it, or give data_dir (--data-dir) "
            "another directory"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
