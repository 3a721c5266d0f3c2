"""The server's own certificate authority, kept in a state directory."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyoperator.apiserver.http._private_files import make_private_folder, write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from pyoperator.clock import Clock

_ALWAYS = ("localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_LIFE_OF_AUTHORITY = timedelta(days=3650)
_LIFE_OF_CERTIFICATE = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
# Clocks of clients may lag behind.
_BACKDATED = timedelta(hours=1)


class CertificateAuthority:
    """Make and keep a CA and a server certificate below ``folder`` (keys mode 0600).

    What is there and still good is used again, so that kubeconfigs outlive a restart. ``names`` are host names and
    addresses besides localhost. Needs the package cryptography (extra ``apiserver``).
    """

    def __init__(self, folder: Path, *, clock: Clock, names: Sequence[str] = ()) -> None:
        self._folder = folder
        self._clock = clock
        self._names = tuple(dict.fromkeys((*_ALWAYS, *names)))
        self.certificate_file: Path = folder / "ca.crt"
        self._key_file = folder / "ca.key"
        self._server_certificate = folder / "server.crt"
        self._server_key = folder / "server.key"

    def prepare(self) -> ssl.SSLContext:
        """Make what is missing or about to expire; return the context to serve with. Raises OSError."""
        make_private_folder(self._folder)
        authority, key = self._authority()
        if not self._server_is_good(authority):
            self._issue_server(authority, key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._server_certificate, self._server_key)
        # Client certificates are optional: a request without one brings a token, or is anonymous.
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(self.certificate_file)
        return context

    def issue_client(self, name: str, groups: Sequence[str] = ()) -> tuple[bytes, bytes]:
        """Return (certificate, key) in PEM for a user: CN is the name, each O a group."""
        from cryptography import x509
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        authority, key = self._authority()
        subject = [*(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups)]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        own_key = _new_key()
        builder = self._builder(x509.Name(subject), authority.subject, own_key, _LIFE_OF_CERTIFICATE).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        return _pem(_sign(builder, key)), _key_pem(own_key)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall(), UTC)

    def _authority(self) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

        try:
            certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            key = serialization.load_pem_private_key(self._key_file.read_bytes(), None)
        except (FileNotFoundError, ValueError):
            return self._new_authority()
        if isinstance(key, EllipticCurvePrivateKey) and certificate.not_valid_after_utc - self._now() > _RENEW_BEFORE:
            return certificate, key
        return self._new_authority()

    def _new_authority(self) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        key = _new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pyoperator-apiserver-ca")])
        builder = (
            self._builder(name, name, key, _LIFE_OF_AUTHORITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        certificate = _sign(builder, key)
        write_private(self._key_file, _key_pem(key))
        write_private(self.certificate_file, _pem(certificate))
        self._server_certificate.unlink(missing_ok=True)
        return certificate, key

    def _server_is_good(self, authority: x509.Certificate) -> bool:
        from cryptography import x509

        try:
            certificate = x509.load_pem_x509_certificate(self._server_certificate.read_bytes())
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
            return False
        return (
            self._server_key.exists()
            and certificate.issuer == authority.subject
            and certificate.not_valid_after_utc - self._now() > _RENEW_BEFORE
            and set(names) >= set(_general_names(self._names))
        )

    def _issue_server(self, authority: x509.Certificate, key: EllipticCurvePrivateKey) -> None:
        from cryptography import x509
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        own_key = _new_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pyoperator-apiserver")])
        builder = (
            self._builder(subject, authority.subject, own_key, _LIFE_OF_CERTIFICATE)
            .add_extension(x509.SubjectAlternativeName(_general_names(self._names)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own_key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        write_private(self._server_key, _key_pem(own_key))
        write_private(self._server_certificate, _pem(_sign(builder, key)))

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, life: timedelta
    ) -> x509.CertificateBuilder:
        from cryptography import x509

        now = self._now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + life)
        )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _sign(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
