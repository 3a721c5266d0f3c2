"""How the server proves itself, and the TLS contexts made of that and of our own certificate."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyoperator.client._errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.client._credentials import ClientCertificate, RotatingFile


@dataclass(frozen=True, slots=True, repr=False)
class ServerTrust:
    """Which servers to believe.

    ``ca_data`` (PEM) or ``ca_file`` (read again when it changes); neither means the system's authorities.
    ``insecure`` checks nothing. ``server_name`` is the name to expect in the certificate instead of the host's.
    """

    ca_data: bytes | None = None
    ca_file: RotatingFile | None = None
    insecure: bool = False
    server_name: str = ""

    def authorities(self) -> bytes | None:
        """Return the PEM bundle, or None for the system's; raises TransportError if its file can't be read."""
        if self.ca_file is None:
            return self.ca_data
        try:
            return self.ca_file.read()
        except OSError as error:
            raise TransportError(
                f"cannot read the certificate authority {self.ca_file.path}: {error.strerror}", sent=False
            ) from error

    def __repr__(self) -> str:
        kind = "file" if self.ca_file else "data" if self.ca_data else "system"
        return f"ServerTrust({'INSECURE' if self.insecure else kind})"


class TLSContexts:
    """Keep the TLS context of the present certificates; a new one when any of them has changed.

    aiohttp pools connections by context, so that a changed certificate means new connections.
    """

    def __init__(self, trust: ServerTrust) -> None:
        self._trust = trust
        self._made_of: tuple[bytes | None, ClientCertificate | None] | None = None
        self._context: ssl.SSLContext | None = None

    def context(self, certificate: ClientCertificate | None) -> ssl.SSLContext:
        """Return the context; raises TransportError if a certificate or key is not valid."""
        material = (self._trust.authorities(), certificate)
        if self._context is None or material != self._made_of:
            self._context = _make(self._trust, *material)
            self._made_of = material
        return self._context


def _make(trust: ServerTrust, authorities: bytes | None, certificate: ClientCertificate | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=authorities.decode() if authorities else None)
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise TransportError(f"the certificate authority is not valid PEM: {error}", sent=False) from error
    # Python 3.13 made this a default that refuses authorities without a key identifier, as many clusters have them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        try:
            with _as_file(certificate.certificate) as chain, _as_file(certificate.key) as key:
                context.load_cert_chain(chain, key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise TransportError(
                f"the client certificate or its key is not valid: {type(error).__name__}", sent=False
            ) from error
    return context


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal for an encrypted key's password, and wait for ever.
    raise ValueError("the private key is encrypted")


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give OpenSSL, which takes only paths, a path: of memory where the system has that, so no key touches a disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        descriptor, path = tempfile.mkstemp()  # readable by this user only
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            yield path
        finally:
            Path(path).unlink()
