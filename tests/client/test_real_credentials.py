"""Who a real kube-apiserver takes us for, by each kind of credentials that can be had there.

``PYOPERATOR_REAL_KUBECONFIG`` names an administrator's kubeconfig with a token; ``PYOPERATOR_REAL_CLIENT_CA`` a folder
with the ``client-ca.crt`` that the server was started with (``--client-ca-file``) and its ``client-ca.key``.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pyoperator.client import AiohttpTransport, Client, Configuration, TransportError
from pyoperator.clock import Randomness
from pyoperator.objects import GroupVersionKind, Unstructured
from tests.client.certificates import Authority
from tests.client.kubeconfigs import AdjustableClock, counting, plugin, runs, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KUBECONFIG = os.environ.get("PYOPERATOR_REAL_KUBECONFIG", "")
CLIENT_CA = os.environ.get("PYOPERATOR_REAL_CLIENT_CA", "")
NAMESPACE = GroupVersionKind("", "v1", "Namespace")
SECRET = GroupVersionKind("", "v1", "Secret")
SERVICE_ACCOUNT = GroupVersionKind("", "v1", "ServiceAccount")

pytestmark = [
    pytest.mark.real_server,
    pytest.mark.skipif(not KUBECONFIG, reason="PYOPERATOR_REAL_KUBECONFIG names no real kube-apiserver"),
]
needs_client_ca = pytest.mark.skipif(not CLIENT_CA, reason="PYOPERATOR_REAL_CLIENT_CA names no authority of clients")


def administrator() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(KUBECONFIG).read_text("utf-8"))
    return found


def as_user(directory: Path, user: dict[str, Any], **cluster: Any) -> Configuration:
    """Load the administrator's kubeconfig with another user in it."""
    document = administrator()
    document["users"] = [{"name": document["users"][0]["name"], "user": user}]
    document["clusters"][0]["cluster"].update(cluster)
    return Configuration.load(write(directory / "config", document), environ=dict(os.environ))


async def identity(transport: AiohttpTransport) -> dict[str, Any]:
    """Return who the server says we are; {} if it does not know us."""
    review = msgspec.json.encode({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = await transport.request("POST", path, body=review)
    if answer.status in {401, 403}:  # anonymous: not told who it is
        return {}
    assert answer.status == 201, answer.body
    found: dict[str, Any] = msgspec.json.decode(answer.body)["status"]["userInfo"]
    return found


async def who(configuration: Configuration) -> str:
    async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
        return str((await identity(transport)).get("username", ""))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """An administrator's client with a namespace of its own."""
    transport = AiohttpTransport(Configuration.load(KUBECONFIG))
    namespace = f"credentials-{Randomness().getrandbits(32):08x}"
    async with contextlib.aclosing(transport):
        client = Client(transport, namespace=namespace)
        await client.create(Unstructured.new(NAMESPACE, namespace))
        await client.create(Unstructured.new(SERVICE_ACCOUNT, "robot", namespace))
        yield client
        await client.delete(NAMESPACE, namespace)


async def test_a_token_and_none(tmp_path: Path) -> None:
    assert await who(Configuration.load(KUBECONFIG)) == "admin"
    assert await who(as_user(tmp_path, {"token": "wrong"})) == ""
    assert await who(as_user(tmp_path, {})) in {"", "system:anonymous"}


async def test_a_token_file(tmp_path: Path) -> None:
    write(tmp_path / "token", administrator()["users"][0]["user"]["token"] + "\n")
    assert await who(as_user(tmp_path, {"tokenFile": "token"})) == "admin"


async def test_a_name_and_a_password_are_carried_but_no_server_since_1_19_takes_them(tmp_path: Path) -> None:
    assert await who(as_user(tmp_path, {"username": "admin", "password": "x"})) in {"", "system:anonymous"}


async def test_a_service_accounts_token_with_rotation_as_in_a_pod(tmp_path: Path, client: Client) -> None:
    """The first token ends with the Secret that it is bound to; the second is in the file before that is noticed."""
    first = await bound_token(client)
    (tmp_path / "account").mkdir()
    write(tmp_path / "account/token", first)
    write(tmp_path / "account/namespace", client.namespace)
    cluster = administrator()["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"])
    (tmp_path / "account/ca.crt").write_bytes(authority)
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    clock = AdjustableClock(asyncio.get_running_loop(), rate=0)  # files are looked at again only after a refusal
    configuration = Configuration.load(
        environ={"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port},
        clock=clock,
        service_account_directory=tmp_path / "account",
    )
    robot = f"system:serviceaccount:{client.namespace}:robot"
    assert configuration.namespace == client.namespace
    async with contextlib.aclosing(AiohttpTransport(configuration, clock=clock)) as transport:
        assert (await identity(transport))["username"] == robot
        second = (await client.pods.service_account_token("robot")).token
        await client.delete(SECRET, "binding")
        async with asyncio.timeout(60):  # the server remembers for some seconds that a token was good
            while await who(as_user(tmp_path, {"token": first})) == robot:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.5)
        write(tmp_path / "account/token", second)
        assert (await identity(transport))["username"] == robot
        assert transport.statistics().credential_refreshes == 1
        # The authority in the file changes: what it no longer vouches for is not believed.
        stranger = Authority("stranger")
        (tmp_path / "account/ca.crt").write_bytes(stranger.pem)
        clock.ahead += 11
        with pytest.raises(TransportError, match="TLS failed"):
            await identity(transport)
        (tmp_path / "account/ca.crt").write_bytes(stranger.pem + authority)
        clock.ahead += 11
        assert (await identity(transport))["username"] == robot


async def bound_token(client: Client) -> str:
    secret = await client.create(Unstructured.new(SECRET, "binding", client.namespace))
    reference = {"kind": "Secret", "apiVersion": "v1", "name": "binding", "uid": secret.metadata["uid"]}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": reference}}
    answer = await client.subresource("token").create(SERVICE_ACCOUNT, "robot", request)
    return str(answer["status"]["token"])


async def test_a_plugin_is_asked_again_when_its_token_is_refused(tmp_path: Path) -> None:
    token = administrator()["users"][0]["user"]["token"]
    script = counting(tmp_path, f"{{'token': {token!r} if count > 1 else 'stale'}}")
    configuration = as_user(tmp_path, plugin(tmp_path, script, provideClusterInfo=True))
    async with contextlib.aclosing(AiohttpTransport(configuration)) as transport:
        found = await asyncio.gather(*(identity(transport) for _ in range(5)))
    assert {user["username"] for user in found} == {"admin"}
    assert runs(tmp_path) == 2


async def test_impersonation(tmp_path: Path) -> None:
    user = {
        **administrator()["users"][0]["user"],
        "as": "jane",
        "as-uid": "42",
        "as-groups": ["devs", "ops"],
        "as-user-extra": {"example.com/scope": ["a", "b"], "100%é": ["c"]},
    }
    async with contextlib.aclosing(AiohttpTransport(as_user(tmp_path, user))) as transport:
        found = await identity(transport)
    assert (found["username"], found["uid"]) == ("jane", "42")
    assert found["groups"] == ["devs", "ops", "system:authenticated"]
    assert found["extra"] == {"example.com/scope": ["a", "b"], "100%é": ["c"]}


async def test_the_servers_name_and_no_check(tmp_path: Path) -> None:
    user = administrator()["users"][0]["user"]
    assert await who(as_user(tmp_path, user, **{"tls-server-name": "kubernetes.default.svc"})) == "admin"
    with pytest.raises(TransportError, match="TLS failed"):
        await who(as_user(tmp_path, user, **{"tls-server-name": "elsewhere.example"}))
    document = administrator()
    document["clusters"][0]["cluster"].pop("certificate-authority-data")
    document["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    assert await who(Configuration.load(write(tmp_path / "insecure", document), environ={})) == "admin"


def issue(name: str, groups: list[str]) -> tuple[bytes, bytes]:
    """Return a client certificate and its key, of the authority that the server believes."""
    authority = x509.load_pem_x509_certificate((Path(CLIENT_CA) / "client-ca.crt").read_bytes())
    signer: Any = serialization.load_pem_private_key((Path(CLIENT_CA) / "client-ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC))
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@needs_client_ca
async def test_a_client_certificate_from_data_and_from_files_that_are_exchanged(tmp_path: Path) -> None:
    certificate, key = issue("jane", ["devs"])
    inline = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    async with contextlib.aclosing(AiohttpTransport(as_user(tmp_path, inline))) as transport:
        found = await identity(transport)
    assert (found["username"], found["groups"][0]) == ("jane", "devs")
    names = ("client.crt", "client.key")
    for name, content in zip(names, (certificate, key), strict=True):
        (tmp_path / name).write_bytes(content)
    clock = AdjustableClock(asyncio.get_running_loop())
    document = administrator()
    document["users"][0]["user"] = {"client-certificate": names[0], "client-key": names[1]}
    configuration = Configuration.load(write(tmp_path / "files", document), environ={}, clock=clock)
    async with contextlib.aclosing(AiohttpTransport(configuration, clock=clock)) as transport:
        assert (await identity(transport))["username"] == "jane"
        for name, content in zip(names, issue("jane-renewed", []), strict=True):
            (tmp_path / name).write_bytes(content)
        clock.ahead += 11
        assert (await identity(transport))["username"] == "jane-renewed"


@needs_client_ca
async def test_a_plugins_certificate_is_renewed(tmp_path: Path) -> None:
    for number in (1, 2):
        for part, content in zip(("crt", "key"), issue(f"plugin-{number}", []), strict=True):
            (tmp_path / f"{part}{number}").write_bytes(content)
    read = f"open({str(tmp_path)!r} + '/%s' + str(count)).read()"
    # The first one is over when it is given: the next request asks for another.
    status = (
        f"{{'clientCertificateData': {read % 'crt'}, 'clientKeyData': {read % 'key'}, "
        "'expirationTimestamp': '2020-01-01T00:00:00Z' if count == 1 else '2100-01-01T00:00:00Z'}"
    )
    configuration = as_user(tmp_path, plugin(tmp_path, counting(tmp_path, status)))
    credentials = configuration.credentials
    first = await credentials.certificate()
    assert first is not None
    assert first.certificate == (tmp_path / "crt1").read_bytes()
    assert await who(configuration) == "plugin-2"


def test_kubectl_reads_the_same_files(tmp_path: Path) -> None:
    """What we take from a kubeconfig is what kubectl takes: a plugin is not asked where there is a token."""
    token = administrator()["users"][0]["user"]["token"]
    config = tmp_path / "config"
    as_user(tmp_path, {"token": token, **plugin(tmp_path, "sys.exit(1)", interactiveMode="Never")})
    command = ["kubectl", "--kubeconfig", str(config), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.stdout == "admin", told.stderr
    assert asyncio.run(who(Configuration.load(config, environ={}))) == "admin"
