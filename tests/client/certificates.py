"""A certificate authority for tests, and a server whose certificates can be exchanged while it runs."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
from typing import TYPE_CHECKING

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

LOOPBACK = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")),)
START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


class Authority:
    """Issue certificates. They have no key identifiers, as those of many clusters."""

    def __init__(self, name: str = "authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._serial = 1
        self.pem = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None)).public_bytes(
            serialization.Encoding.PEM
        )

    def issue(
        self, name: str, names: Sequence[x509.GeneralName] = (), organizations: Sequence[str] = ()
    ) -> tuple[bytes, bytes]:
        """Return a certificate and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        extensions = [x509.SubjectAlternativeName(names)] if names else []
        certificate = self._sign(subject, key, x509.BasicConstraints(ca=False, path_length=None), *extensions)
        return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        self._serial += 1
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(self._serial)
            .not_valid_before(START)
            .not_valid_after(START + datetime.timedelta(days=36500))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256())


class TLSServer:
    """Answer with the name in the client's certificate; no connection serves twice."""

    def __init__(self, directory: Path, clients: Authority | None) -> None:
        self._directory = directory
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # OpenSSL 3.6 would refuse clients of an authority without key identifiers, as Python 3.13 would servers.
        self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if clients is not None:
            self.context.load_verify_locations(cadata=clients.pem.decode())
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.port = 0
        self.requests: list[web.Request] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def present(self, certificate: bytes, key: bytes) -> None:
        """Use this certificate for the connections to come."""
        (self._directory / "server.crt").write_bytes(certificate)
        (self._directory / "server.key").write_bytes(key)
        self.context.load_cert_chain(self._directory / "server.crt", self._directory / "server.key")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        assert request.transport is not None
        peer = request.transport.get_extra_info("peercert") or {}
        names = [value for part in peer.get("subject", ()) for key, value in part if key == "commonName"]
        return web.Response(text=names[0] if names else "nobody", headers={"Connection": "close"})


@contextlib.asynccontextmanager
async def serve_tls(
    directory: Path,
    authority: Authority,
    names: Sequence[x509.GeneralName] = LOOPBACK,
    clients: Authority | None = None,
) -> AsyncIterator[TLSServer]:
    """Serve with a certificate for ``names``; with ``clients`` only those who have one of that authority's."""
    server = TLSServer(directory, clients)
    server.present(*authority.issue("server", names))
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server.context).start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
