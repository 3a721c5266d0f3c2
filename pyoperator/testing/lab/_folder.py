"""The lab's state on disk: one private folder in the system's temporary directory, gone at the end.

Whoever runs a lab holds a lock on its folder, which the kernel lets go however the launcher ends. So the next one can
tell a folder that a killed launcher left behind from one in use, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pyoperator.testing.lab._errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence


_PREFIX = "pyoperator-lab-"
_LOCK = "launcher.lock"


class LabFolder:
    """A fresh folder of mode 0700 with everything that the lab's processes read and write."""

    def __init__(self) -> None:
        try:
            self.path: Path = Path(tempfile.mkdtemp(prefix=_PREFIX))  # mode 0700 by definition
            self._lock = _hold(self.path)
            # HOME of the lab's processes: without a .kube/config, and where their temporary files go.
            self.home: Path = self.path / "home"
            self.home.mkdir(mode=0o700)
            self.tokens.touch(mode=0o600)
        except OSError as error:
            raise LabError(
                f"no folder can be made in {tempfile.gettempdir()} ({error.strerror}); set TMPDIR to a writable one"
            ) from error

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, written by the API server."""
        return self.path / "kubeconfig"

    @property
    def server_pid(self) -> Path:
        """The number of the API server's process, for who wants to stop it for a while."""
        return self.path / "apiserver.pid"

    @property
    def tokens(self) -> Path:
        return self.path / "tokens.csv"

    @property
    def audit_log(self) -> Path:
        return self.path / "audit.log"

    def log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    def add_user(self, user: str, groups: Sequence[str]) -> Path:
        """Make a user that the running server knows at once, and return its own kubeconfig (mode 0600)."""
        token = secrets.token_urlsafe(32)
        # One append of a whole line: the server may read the file at any moment.
        with self.tokens.open("a", encoding="utf-8") as file:
            file.write(f'{token},{user},{user},"{",".join(groups)}"\n')
        document: dict[str, Any] = yaml.safe_load(self.kubeconfig.read_text("utf-8"))
        document["users"] = [{"name": user, "user": {"token": token}}]
        for context in document["contexts"]:
            context["context"]["user"] = user
        path = self.path / f"{user}.kubeconfig"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file, sort_keys=False)
        return path

    def remove(self) -> None:
        """Remove the folder; what can't be removed stays, without an error."""
        shutil.rmtree(self.path, ignore_errors=True)
        held, self._lock = self._lock, -1
        if held >= 0:
            os.close(held)

    def __repr__(self) -> str:
        return f"LabFolder({str(self.path)!r})"


def remove_abandoned() -> list[Path]:
    """Remove this user's lab folders that no launcher holds any more, and return them.

    One that has no lock in it is not of this kind, or just being made: it stays.
    """
    removed: list[Path] = []
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        # Folders of others can't be opened (mode 0700), and the ones in use can't be locked.
        with suppress(OSError):
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
                removed.append(lock.parent)
            finally:
                os.close(descriptor)
    return removed


def _hold(folder: Path) -> int:
    """Lock a file and only then give it the name that others look for: nobody finds it unlocked."""
    draft = folder / f"{_LOCK}.new"
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    draft.rename(folder / _LOCK)
    return descriptor
