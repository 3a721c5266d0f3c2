"""Static tokens in kube-apiserver's CSV form, read again when the file changes."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING

from pyoperator.apiserver.access._identity import User

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyoperator.clock import Clock

_LOOK_AGAIN = 0.25  # seconds between two looks at a file whose tokens are all known


class TokenFileError(ValueError):
    """The token file cannot be used; the message names the line and what it should look like."""


def parse_tokens(text: str, *, source: str = "token file") -> dict[str, User]:
    """Parse lines of ``TOKEN,NAME,UID`` with an optional fourth column ``"GROUP,GROUP"``; raises TokenFileError."""
    users: dict[str, User] = {}
    reader = csv.reader(io.StringIO(text), skipinitialspace=True)
    try:
        for row in reader:
            if not row:
                continue
            if len(row) < 3 or not row[0] or not row[1]:
                # The line itself may hold a token and is not shown.
                raise TokenFileError(
                    f'{source}, line {reader.line_num}: expected TOKEN,NAME,UID[,"GROUP,GROUP"], found {len(row)} columns '
                    "or an empty token or name"
                )
            groups = tuple(group for group in row[3].split(",") if group) if len(row) > 3 else ()
            users[row[0]] = User(row[1], row[2], groups)
    except csv.Error as error:
        raise TokenFileError(f"{source}, line {reader.line_num}: not CSV: {error}") from error
    return users


class TokenTable:
    """Tokens by digest: what is compared is a hash, so that the time of a look-up tells nothing about a token."""

    def __init__(self, users: Mapping[str, User]) -> None:
        self._users = {_digest(token): user for token, user in users.items()}

    def find(self, token: str) -> User | None:
        return self._users.get(_digest(token))

    def __len__(self) -> int:
        return len(self._users)

    def __repr__(self) -> str:
        return f"TokenTable({len(self._users)} tokens)"


class TokenFile:
    """A token file that may change while the server runs: tokens added are good at once, tokens removed soon.

    A known token is looked up without touching the file for a quarter of a second; an unknown one makes the server
    look whether the file has changed. A file that becomes unreadable or wrong keeps the last good tokens and is told
    by ``problem``; at the start it raises TokenFileError.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._stamp: tuple[int, int, int] | None = None
        self._looked_at = float("-inf")
        self._table = TokenTable({})
        self.problem: str = ""
        self._reload()
        if self.problem:
            raise TokenFileError(self.problem)

    def find(self, token: str) -> User | None:
        """Return the user of a token, None if it is not in the file."""
        if self._clock.elapsed() - self._looked_at >= _LOOK_AGAIN:
            self._reload()
        user = self._table.find(token)
        if user is None:
            self._reload()
            user = self._table.find(token)
        return user

    def _reload(self) -> None:
        self._looked_at = self._clock.elapsed()
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return
            self._table = TokenTable(parse_tokens(self._path.read_text("utf-8"), source=str(self._path)))
        except TokenFileError as error:
            self.problem = str(error)
            return
        except (OSError, UnicodeDecodeError) as error:
            self.problem = (
                f"cannot read the token file {self._path}: {error}; give a readable file of TOKEN,NAME,UID lines"
            )
            return
        self._stamp, self.problem = stamp, ""

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r}, {len(self._table)} tokens)"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
