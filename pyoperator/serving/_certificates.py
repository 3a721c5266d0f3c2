"""A TLS context whose certificate follows the files it came from."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable


class CertificateError(ValueError):
    """The certificate or key can't be used; the message names the files and what is wrong."""


@dataclass(frozen=True, slots=True)
class CertificateStatistics:
    """Counts since the start, as controller-runtime's ``certwatcher_read_certificate_*``."""

    reads: int
    errors: int


_Fingerprint = tuple[tuple[int, int, int], ...]


class CertificateWatcher:
    """Keep ``context`` (for servers, TLS 1.2 and up) loaded with the newest valid pair of certificate and key files.

    Files are looked at every ``interval`` seconds (mtime, inode and size: a Secret's volume swaps symlinks, editors
    rename). A pair that does not fit together, as in the middle of a rotation, is counted and logged, and the old one
    stays in service. Connections that exist keep theirs. Raises CertificateError at construction if there is no valid
    pair to begin with.
    """

    def __init__(
        self,
        certificate: str | Path,
        key: str | Path,
        *,
        interval: float = 10.0,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._files = (Path(certificate), Path(key))
        self._interval = interval
        self._on_change = on_change
        self._reads = 0
        self._errors = 0
        self.context: ssl.SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._fingerprint()
        self._load()

    def check(self) -> bool:
        """Look at the files once and reload what changed; True if the context has new content."""
        fingerprint = self._fingerprint()
        if fingerprint == self._seen:
            return False
        try:
            self._load()
        except CertificateError as error:
            # Remembered all the same: the next look waits for another change instead of failing on this one again.
            self._seen = fingerprint
            structlog.get_logger("pyoperator.serving").warning(
                "new certificate refused, keeping the old one", error=str(error)
            )
            return False
        self._seen = fingerprint
        if self._on_change is not None:
            self._on_change()
        return True

    async def run(self) -> None:
        """Check every interval until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            self.check()

    def statistics(self) -> CertificateStatistics:
        return CertificateStatistics(self._reads, self._errors)

    def _load(self) -> None:
        certificate, key = self._files
        self._reads += 1
        try:
            # Tried on a scratch context first: a failure halfway would leave the live one with half a pair.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
            self.context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            self._errors += 1
            reason = error.strerror if isinstance(error, FileNotFoundError) else str(error)
            raise CertificateError(
                f"cannot use certificate {certificate} with key {key}: {reason}; both must be PEM files, unencrypted, "
                "and belong together"
            ) from error

    def _fingerprint(self) -> _Fingerprint:
        found: list[tuple[int, int, int]] = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def __repr__(self) -> str:
        return f"<CertificateWatcher {self._files[0]} reads={self._reads} errors={self._errors}>"


def _no_password() -> str:
    # Without a callback OpenSSL would ask on the terminal and block the loop for ever.
    raise ValueError("the key is encrypted")
