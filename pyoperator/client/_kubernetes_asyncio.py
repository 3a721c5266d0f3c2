"""The adapter to kubernetes-asyncio, the only module that imports it, and only when one of these functions is called.

Importing any part of that library loads all of its models; an operator that does not use them must not pay for it.
"""

from __future__ import annotations

import copy
import datetime
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from pyoperator.client._configuration import Configuration, ConfigurationError
from pyoperator.client._credentials import CertificateFiles, RotatingFile
from pyoperator.client._errors import TransportError
from pyoperator.client._tls import ServerTrust
from pyoperator.clock import SystemClock
from pyoperator.objects import BUILTIN_KINDS, DecodeError, Metadata, partial_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.client._credentials import ClientCertificate
    from pyoperator.objects import ResourceKind

T = TypeVar("T")

_CLASS_NAME = re.compile(r"(V\d+(?:(?:alpha|beta)\d+)?)([A-Z]\w*)$")
_LIST = re.compile(r"list\[(.*)\]$")
_MAP = re.compile(r"dict\(([^,]*), (.*)\)$")
_PRIMITIVES = {"str": str, "int": int, "float": float, "bool": bool}


def kubernetes_asyncio_configuration(theirs: Any) -> Configuration:
    """Use a ``kubernetes_asyncio.client.Configuration`` (or ApiClient) that the program has set up itself.

    Its token, refresh hook, basic authentication, certificates, CA and proxy apply.
    """
    theirs = getattr(theirs, "configuration", theirs)
    clock = SystemClock()
    certificates = None
    if theirs.cert_file and theirs.key_file:
        certificates = CertificateFiles(
            RotatingFile(Path(theirs.cert_file), clock), RotatingFile(Path(theirs.key_file), clock)
        )
    elif theirs.cert_file or theirs.key_file:
        raise ConfigurationError("the kubernetes_asyncio Configuration has a cert_file or key_file without the other")
    insecure = not theirs.verify_ssl
    return Configuration(
        server=theirs.host,
        credentials=AdaptedCredentials(theirs, certificates),
        trust=ServerTrust(
            ca_file=RotatingFile(Path(theirs.ssl_ca_cert), clock) if theirs.ssl_ca_cert else None,
            insecure=insecure,
            server_name=theirs.tls_server_name or "",
        ),
        proxy_url=theirs.proxy or "",
        source="a kubernetes_asyncio Configuration",
        warnings=("verify_ssl is off in the kubernetes_asyncio Configuration: the server is not checked",)
        if insecure
        else (),
    )


class AdaptedCredentials:
    """Ask a kubernetes_asyncio Configuration for its header each time: its refresh hook is its own affair."""

    def __init__(self, theirs: Any, certificates: CertificateFiles | None) -> None:
        self._theirs = theirs
        self._certificates = certificates

    async def authorization(self) -> str:
        token = await self._theirs.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            return str(token) if " " in token else f"Bearer {token}"
        if self._theirs.username:
            return str(self._theirs.get_basic_auth_token())
        return ""

    async def certificate(self) -> ClientCertificate | None:
        if self._certificates is None:
            return None
        try:
            return self._certificates.load()
        except OSError as error:
            raise TransportError(
                f"cannot read the client certificate {error.filename}: {error.strerror}", sent=False
            ) from error

    async def refresh(self) -> bool:
        if self._theirs.refresh_api_key_hook is None:
            return False
        before = self._theirs.api_key.get("BearerToken")
        await self.authorization()
        return bool(self._theirs.api_key.get("BearerToken") != before)

    def __repr__(self) -> str:
        return "AdaptedCredentials(<redacted>)"


def legacy_credentials(
    name: str, context: Mapping[str, Any], cluster: Mapping[str, Any], user: Mapping[str, Any], directory: Path
) -> LegacyCredentials:
    """Return credentials for a kubeconfig user with an ``auth-provider`` that only the library reads: gcp."""
    document = {
        "current-context": name,
        "contexts": [{"name": name, "context": {**context, "cluster": "cluster", "user": "user"}}],
        "clusters": [{"name": "cluster", "cluster": dict(cluster)}],
        "users": [{"name": "user", "user": copy.deepcopy(dict(user))}],
    }
    return LegacyCredentials(document, directory)


class LegacyCredentials:
    """A token from kubernetes_asyncio's loader; loaded at first use, and again when the server refuses it."""

    def __init__(self, document: dict[str, Any], directory: Path) -> None:
        self._document = document
        self._directory = directory
        self._token: str | None = None

    async def authorization(self) -> str:
        if self._token is None:
            self._token = await self._load()
        return self._token if self._token.startswith(("Bearer ", "Basic ")) else f"Bearer {self._token}"

    async def certificate(self) -> ClientCertificate | None:
        return None

    async def refresh(self) -> bool:
        # The loader writes what it got into the settings, and would give it out again until it expires.
        settings = self._document["users"][0]["user"]["auth-provider"].get("config") or {}
        settings.pop("access-token", None)
        before, self._token = self._token, await self._load()
        return self._token != before

    async def _load(self) -> str:
        from kubernetes_asyncio.config.kube_config import KubeConfigLoader

        provider = self._document["users"][0]["user"]["auth-provider"]
        try:
            loader = KubeConfigLoader(config_dict=self._document, config_base_path=str(self._directory))
            await loader._load_authentication()
            token = getattr(loader, "token", "")
        except Exception as error:
            # Whatever the library's plugins raise; its text may quote the provider's settings and is not repeated.
            raise TransportError(
                f"the legacy auth-provider {provider.get('name')!r} gave no token ({type(error).__name__}); "
                "use an exec plugin instead",
                sent=False,
            ) from error
        if not token:
            raise TransportError(
                f"the legacy auth-provider {provider.get('name')!r} gave no token; use an exec plugin instead",
                sent=False,
            )
        return str(token)

    def __repr__(self) -> str:
        return "LegacyCredentials(<redacted>)"


class KubernetesAsyncioCodec(Generic[T]):
    """Translate a kubernetes_asyncio model, as the library itself would, by its attribute maps.

    ``lossy``: the models hold only the fields they were generated with, so a whole object is never written back.
    """

    lossy = True

    def __init__(self, model: type[T], resource: ResourceKind) -> None:
        self.model = model
        self.resource = resource

    def decode(self, data: bytes) -> T:
        try:
            document = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise DecodeError(f"not JSON: {error}") from error
        if not isinstance(document, dict):
            raise DecodeError(f"expected a JSON object, got {type(document).__name__}")
        document.setdefault("apiVersion", self.resource.gvk.api_version)
        document.setdefault("kind", self.resource.gvk.kind)
        try:
            return cast("T", _build(document, self.model, _models()))
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise DecodeError(f"not a valid {self.model.__name__}: {error}") from error

    def encode(self, obj: T) -> bytes:
        document = _plain(obj)
        document.setdefault("apiVersion", self.resource.gvk.api_version)
        document.setdefault("kind", self.resource.gvk.kind)
        return msgspec.json.encode(document)

    def metadata(self, obj: T) -> Metadata:
        """Read the metadata that the machinery needs."""
        return partial_metadata(self.encode(obj))


def kubernetes_asyncio_codec(model: type[T], resource: ResourceKind | None = None) -> KubernetesAsyncioCodec[T]:
    """Return the codec of a kubernetes_asyncio model, for ``scheme.add_codec(V1StatefulSet, ...)``.

    ``resource`` is needed for kinds whose group the class name does not tell; raises ValueError without it.
    """
    if resource is None:
        match = _CLASS_NAME.match(model.__name__)
        version, kind = (match.group(1).lower(), match.group(2)) if match else ("", "")
        found = [known for known in BUILTIN_KINDS if known.gvk.version == version and known.gvk.kind == kind]
        if len(found) != 1:
            raise ValueError(
                f"which kind is {model.__name__}? give its resource: ResourceKind(gvk, plural, namespaced)"
            )
        resource = found[0]
    return KubernetesAsyncioCodec(model, resource)


def _models() -> Any:
    from kubernetes_asyncio.client import models

    return models


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return {
        wire_name: _plain(item)
        for attribute, wire_name in value.attribute_map.items()
        if (item := getattr(value, attribute)) is not None
    }


def _build(value: Any, kind: Any, models: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, str):
        if match := _LIST.match(kind):
            return [_build(item, match.group(1), models) for item in value]
        if match := _MAP.match(kind):
            return {name: _build(item, match.group(2), models) for name, item in value.items()}
        if kind == "object":
            return value
        if kind == "datetime":
            return _instant(value)
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind](value)
        kind = getattr(models, kind)
    if not kind.openapi_types:
        return value
    known = {
        attribute: _build(value[kind.attribute_map[attribute]], of, models)
        for attribute, of in kind.openapi_types.items()
        if kind.attribute_map[attribute] in value
    }
    return kind(**known)


def _instant(text: str) -> datetime.datetime:
    from kubernetes_asyncio.client import api_client

    return cast("datetime.datetime", cast("Any", api_client).parse(text))  # what its own deserialize() calls
