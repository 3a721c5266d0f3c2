from __future__ import annotations

import asyncio
import datetime
import ssl
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pyoperator.serving import BindAddress, CertificateError, CertificateWatcher, HTTPServer
from tests.support import run_virtual

if TYPE_CHECKING:
    from pathlib import Path


def write_pair(folder: Path, name: str, *, password: bytes | None = None) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2020, 1, 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    files = (folder / "tls.crt", folder / "tls.key")
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return files


async def served_name(port: int) -> str:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        await writer.wait_closed()
    value = x509.load_der_x509_certificate(raw).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    assert isinstance(value, str)
    return value


async def test_a_running_server_serves_the_new_certificate(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path, "first")
    watcher = CertificateWatcher(certificate, key)
    server = HTTPServer(BindAddress.parse("127.0.0.1:0"), web.Application(), watcher.context)
    await server.start()
    try:
        assert await served_name(server.port) == "first"
        assert not watcher.check()
        write_pair(tmp_path, "second")
        assert watcher.check()
        assert await served_name(server.port) == "second"
        assert (watcher.statistics().reads, watcher.statistics().errors) == (2, 0)
    finally:
        await server.stop()


async def test_a_half_finished_rotation_keeps_the_old_pair(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path, "first")
    watcher = CertificateWatcher(certificate, key)
    server = HTTPServer(BindAddress.parse("127.0.0.1:0"), web.Application(), watcher.context)
    await server.start()
    try:
        old_key = key.read_bytes()
        write_pair(tmp_path, "second")
        new_key = key.read_bytes()
        key.write_bytes(old_key)
        assert not watcher.check()
        assert await served_name(server.port) == "first"
        assert watcher.statistics().errors == 1
        key.write_bytes(new_key + b"\n")
        assert watcher.check()
        assert await served_name(server.port) == "second"
        certificate.unlink()
        assert not watcher.check()
    finally:
        await server.stop()


def test_the_files_are_looked_at_every_interval(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path, "first")
    changes: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        watcher = CertificateWatcher(certificate, key, interval=10, on_change=lambda: changes.append(loop.time()))
        task = asyncio.create_task(watcher.run())
        await asyncio.sleep(15)
        write_pair(tmp_path, "second")
        await asyncio.sleep(15)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(main)
    assert changes == [20]


def test_errors_teach(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="No such file"):
        CertificateWatcher(tmp_path / "tls.crt", tmp_path / "tls.key")
    certificate, key = write_pair(tmp_path, "x", password=b"secret")
    with pytest.raises(CertificateError, match="encrypted"):
        CertificateWatcher(certificate, key)
