"""Who we are to the API server; nothing here shows its contents in a repr."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from pyoperator.client._errors import TransportError
from pyoperator.clock import SystemClock

if TYPE_CHECKING:
    from pyoperator.clock import Clock

_RECHECK = 10.0
"""Seconds between two looks at a file that may be rotated: kubelets rotate minutes before the old one expires."""


@dataclass(frozen=True, slots=True, repr=False)
class ClientCertificate:
    """A certificate chain and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "ClientCertificate(<redacted>)"


class Credentials(Protocol):
    """Prove who we are."""

    async def authorization(self) -> str:
        """Return the value of the Authorization header, or "" for none; raises TransportError."""
        ...

    async def certificate(self) -> ClientCertificate | None:
        """Return the client certificate to present in TLS, or None."""
        ...

    async def refresh(self) -> bool:
        """Fetch new credentials after the server refused these (401); False if there can be no others.

        The caller sees to it that one refresh runs at a time.
        """
        ...


class LockPerLoop:
    """A lock for each event loop: one configuration serves the work's loop and the election's.

    What it guards is replaced as a whole, so the loops need not exclude each other; and a work loop that stalls while
    it holds its lock must not hold up the renewal of the lease.
    """

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def lock(self) -> asyncio.Lock:
        """Return the running loop's lock."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


class RotatingFile:
    """A small file that is read again when it has changed on disk (a rotated token, key or CA)."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._checked = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._content = b""

    def read(self, *, now: bool = False) -> bytes:
        """Return the content, looking at the file at most every ten seconds; ``now`` looks in any case.

        A file that is gone for a moment keeps its last content. Raises OSError if it could never be read.
        """
        elapsed = self._clock.elapsed()
        if not now and elapsed - self._checked < _RECHECK:
            return self._content
        try:
            stat = self.path.stat()
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen != self._seen:
                self._content = self.path.read_bytes()
                self._seen = seen
        except OSError:
            if self._seen is None:
                raise
        self._checked = elapsed
        return self._content

    def __repr__(self) -> str:
        return f"RotatingFile({str(self.path)!r})"


class CertificateSource(Protocol):
    """Where a client certificate comes from."""

    def load(self, *, now: bool = False) -> ClientCertificate: ...


@dataclass(frozen=True, slots=True)
class FixedCertificate:
    """A certificate given as data."""

    value: ClientCertificate

    def load(self, *, now: bool = False) -> ClientCertificate:
        return self.value


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate and key in files, read again when they change."""

    certificate: RotatingFile
    key: RotatingFile

    def load(self, *, now: bool = False) -> ClientCertificate:
        return ClientCertificate(self.certificate.read(now=now), self.key.read(now=now))


class WithCertificate:
    """What all credentials share: an optional client certificate besides the header."""

    def __init__(self, certificates: CertificateSource | None = None) -> None:
        self._certificates = certificates

    async def certificate(self) -> ClientCertificate | None:
        return self._load()

    def _load(self, *, now: bool = False) -> ClientCertificate | None:
        if self._certificates is None:
            return None
        try:
            return self._certificates.load(now=now)
        except OSError as error:
            raise TransportError(
                f"cannot read the client certificate {error.filename}: {error.strerror}", sent=False
            ) from error

    def _renewed_certificate(self) -> bool:
        return self._load() != self._load(now=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<redacted>)"


class NoCredentials(WithCertificate):
    """No header: anonymous, or known by a client certificate."""

    async def authorization(self) -> str:
        return ""

    async def refresh(self) -> bool:
        return self._renewed_certificate()


class TokenCredentials(WithCertificate):
    """A fixed bearer token."""

    def __init__(self, token: str, certificates: CertificateSource | None = None) -> None:
        super().__init__(certificates)
        self._token = token

    async def authorization(self) -> str:
        return f"Bearer {self._token}"

    async def refresh(self) -> bool:
        return self._renewed_certificate()


class TokenFileCredentials(WithCertificate):
    """A bearer token in a file that others rotate: a service account's, above all."""

    def __init__(
        self, path: str | Path, *, clock: Clock | None = None, certificates: CertificateSource | None = None
    ) -> None:
        super().__init__(certificates)
        self._file = RotatingFile(Path(path), clock if clock is not None else SystemClock())

    async def authorization(self) -> str:
        return f"Bearer {self._token()}"

    async def refresh(self) -> bool:
        before = self._token()
        renewed = self._token(now=True) != before
        return self._renewed_certificate() or renewed

    def _token(self, *, now: bool = False) -> str:
        try:
            return self._file.read(now=now).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TransportError(f"cannot read the token file {self._file.path}: {error}", sent=False) from error


@dataclass(frozen=True, slots=True, repr=False)
class _NameAndPassword:
    username: str
    password: str = field(repr=False)


class BasicCredentials(WithCertificate):
    """A user name and a password."""

    def __init__(self, username: str, password: str, certificates: CertificateSource | None = None) -> None:
        super().__init__(certificates)
        self._pair = _NameAndPassword(username, password)

    async def authorization(self) -> str:
        pair = f"{self._pair.username}:{self._pair.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    async def refresh(self) -> bool:
        return self._renewed_certificate()
