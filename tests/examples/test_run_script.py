"""The script that runs an instance, against a real PostgreSQL where one is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import postgres_operator
from pyoperator.testing.lab._ports import ReservedPort

SCRIPT = Path(postgres_operator.__file__).with_name("run.sh")
NOBODY = 65534


def _postgres_bin() -> Path | None:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    if found:
        candidates.append(Path(found).resolve().parent)
    tools = ("initdb", "pg_ctl", "postgres", "pg_basebackup", "psql", "pg_isready")
    return next((folder for folder in candidates if all((folder / tool).exists() for tool in tools)), None)


BIN = _postgres_bin()


class Instance:
    """One instance as its pod would run it, as an unprivileged user (PostgreSQL refuses root)."""

    def __init__(self, folder: Path, ordinal: int, *, port: int, primary_port: int) -> None:
        assert BIN is not None
        self.port = port
        self.log = folder / "log"
        config, secrets, sockets, temporary = (folder / name for name in ("config", "secrets", "run", "tmp"))
        for path in (folder, config, secrets, sockets, temporary):
            path.mkdir()
        (config / "postgresql.conf").write_text(
            f"listen_addresses = '127.0.0.1'\nunix_socket_directories = '{sockets}'\nwal_level = 'replica'\n"
            "max_wal_senders = '4'\nhot_standby = 'on'\nmax_connections = '33'\nfsync = 'off'\n"
        )
        (config / "pg_hba.conf").write_text(
            "local all all trust\nhost replication replicator all scram-sha-256\nhost all all all scram-sha-256\n"
        )
        (secrets / "init.sql").write_text(
            'CREATE ROLE "app" LOGIN PASSWORD \'it\'\'s\';\nCREATE DATABASE "orders" OWNER "app";\n'
        )
        environment = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(folder),
            "TMPDIR": str(temporary),
            "LC_ALL": "C",
            "POD_NAME": f"orders-{ordinal}",
            "PGDATA": str(folder / "data" / "pgdata"),
            "PGPORT": str(primary_port if ordinal else port),
            "CONFIG_DIR": str(config),
            "INIT_SQL": str(secrets / "init.sql"),
            "PRIMARY_HOST": "127.0.0.1",
            "SUPERUSER_PASSWORD": "super'secret",
            "REPLICATION_PASSWORD": "repl'secret",
        }
        root = os.geteuid() == 0
        if root:
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, NOBODY, NOBODY)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["/bin/sh", str(SCRIPT), "-c", f"port={port}"],
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
                user=NOBODY if root else None,
                group=NOBODY if root else None,
            )

    def query(self, sql: str, *, user: str = "app", password: str = "it's", database: str = "orders") -> str:
        assert BIN is not None
        command: list[str] = [
            str(BIN / "psql"),
            "-XAtq",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            user,
            "-d",
            database,
            "-c",
            sql,
        ]
        done = subprocess.run(
            command, env={"PGPASSWORD": password, "PGCONNECT_TIMEOUT": "2"}, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else f"error: {done.stderr.strip()}"

    def wait_for(self, sql: str, answer: str) -> None:
        """Ask until the answer is the expected one; the instance's log tells why it never was."""
        deadline = time.monotonic() + 60
        seen = ""
        while time.monotonic() < deadline and self.process.poll() is None:
            seen = self.query(sql)
            if seen == answer:
                return
            time.sleep(0.1)  # a condition on another process: there is nothing to await
        pytest.fail(f"{sql!r} gave {seen!r}, not {answer!r}; log:\n{self.log.read_text()}")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Sockets' paths are limited to about 100 characters, and an unprivileged user must reach the folder.
    path = Path(
        subprocess.run(["mktemp", "-d", "/tmp/pg.XXXXXX"], capture_output=True, text=True, check=True).stdout.strip()
    )
    path.chmod(0o755)
    return path


@pytest.mark.e2e
@pytest.mark.skipif(BIN is None, reason="MISSING TOOL: PostgreSQL (initdb, pg_basebackup, ...): run.sh was not tested")
def test_primary_and_standby(folder: Path) -> None:
    """A primary is initialised once; a standby copies it, streams, and refuses writes; both survive a restart."""
    held = ReservedPort(), ReservedPort()
    primary_port, standby_port = (port.number for port in held)
    started: list[Instance] = []
    try:
        standby = Instance(folder / "standby", 1, port=standby_port, primary_port=primary_port)
        started.append(standby)  # before the primary: it has to wait
        primary = Instance(folder / "primary", 0, port=primary_port, primary_port=primary_port)
        started.append(primary)
        primary.wait_for("SHOW max_connections", "33")
        assert primary.query("CREATE TABLE t AS SELECT 42 AS n; SELECT n FROM t") == "42"
        standby.wait_for("SELECT n FROM t", "42")
        assert "read-only" in standby.query("INSERT INTO t VALUES (1)")
        assert "password authentication failed" in primary.query("SELECT 1", password="wrong")
        assert standby.query("SELECT pg_is_in_recovery()", user="postgres", password="super'secret") == "t"
        assert primary.stop() == 0
    finally:
        for instance in started:
            if instance.process.poll() is None:
                instance.stop()
        for port in held:
            port.close()
        shutil.rmtree(folder, ignore_errors=True)
