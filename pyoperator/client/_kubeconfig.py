"""A small reader of kubeconfig files: contexts, clusters, users; legacy auth-providers go to the adapter."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from pyoperator.client._configuration import Configuration, ConfigurationError
from pyoperator.client._credentials import (
    BasicCredentials,
    CertificateFiles,
    ClientCertificate,
    FixedCertificate,
    NoCredentials,
    RotatingFile,
    TokenCredentials,
    TokenFileCredentials,
)
from pyoperator.client._exec_plugin import ExecCredentials, ExecPlugin, cluster_description
from pyoperator.client._impersonation import impersonation_headers
from pyoperator.client._tls import ServerTrust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pyoperator.client._credentials import CertificateSource, Credentials
    from pyoperator.clock import Clock

_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """One named cluster, user or context, and the directory that its relative paths start from."""

    name: str
    content: Mapping[str, Any]
    directory: Path
    what: str

    def text(self, field: str) -> str:
        value = self.content.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ConfigurationError(f"{self}: {field} must be a text, not a {type(value).__name__}; quote it")
        return value

    def data(self, field: str) -> bytes | None:
        encoded = self.text(field)
        if not encoded:
            return None
        try:
            return base64.b64decode("".join(encoded.split()), validate=True)
        except binascii.Error:
            raise ConfigurationError(
                f"{self}: {field} is not valid base64; encode the PEM file with: base64 -w0 FILE"
            ) from None

    def file(self, field: str) -> Path | None:
        name = self.text(field)
        return self.directory / name if name else None

    def readable(self, field: str, clock: Clock) -> RotatingFile | None:
        path = self.file(field)
        if path is None:
            return None
        file = RotatingFile(path, clock)
        try:
            file.read()
        except OSError as error:
            raise ConfigurationError(
                f"{self}: cannot read {field} {path}: {error.strerror}; correct the path or its permissions"
            ) from error
        return file

    def __str__(self) -> str:
        return f"kubeconfig {self.what} {self.name!r}"


class Kubeconfig:
    """Several files merged: for each name, and for current-context, the first file that has it wins."""

    def __init__(self) -> None:
        self.current_context = ""
        self.paths: list[Path] = []
        self.entries: dict[str, dict[str, Entry]] = {"clusters": {}, "users": {}, "contexts": {}}

    def merge(self, path: Path) -> None:
        """Add one file; raises ConfigurationError, and FileNotFoundError for one that does not exist."""
        document = _read(path)
        self.paths.append(path)
        current = document.get("current-context")
        if current and not self.current_context:
            self.current_context = str(current)
        for section, what in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            entries = document.get(section) or []
            if not isinstance(entries, list):
                raise ConfigurationError(f"{path}: {section} must be a list; it is a {type(entries).__name__}")
            for entry in entries:
                name = entry.get("name") if isinstance(entry, dict) else None
                content = (entry.get(what) or {}) if isinstance(entry, dict) else None
                if not name or not isinstance(content, dict):
                    raise ConfigurationError(f"{path}: every entry of {section} needs a name and a {what}")
                self.entries[section].setdefault(str(name), Entry(str(name), content, path.absolute().parent, what))

    def find(self, section: str, name: str, wanted_by: str) -> Entry:
        """Return an entry; raises ConfigurationError that lists what there is."""
        found = self.entries[section].get(name)
        if found is None:
            known = ", ".join(sorted(self.entries[section])) or "none"
            raise ConfigurationError(f"{self}: {wanted_by} {name!r}, which does not exist; known {section}: {known}")
        return found

    def __str__(self) -> str:
        return f"kubeconfig {':'.join(map(str, self.paths))}"


def load_kubeconfig(
    paths: Sequence[Path], context: str | None, environ: Mapping[str, str], clock: Clock, *, named_by: str
) -> Configuration:
    """Read the files and resolve one context; raises ConfigurationError."""
    merged = Kubeconfig()
    for path in paths:
        try:
            merged.merge(path)
        except FileNotFoundError:
            if len(paths) == 1:
                raise ConfigurationError(
                    f"kubeconfig {path} (from {named_by}) does not exist; correct the path or create the file"
                ) from None
    if not merged.paths:
        raise ConfigurationError(f"none of the files of {named_by} exists: {', '.join(map(str, paths))}; correct it")
    name = context or merged.current_context
    if not name:
        known = ", ".join(sorted(merged.entries["contexts"])) or "none"
        raise ConfigurationError(
            f"{merged} has no current-context; give Configuration.load(context=NAME), or run kubectl config use-context "
            f"(contexts: {known})"
        )
    wanted_by = "the argument context names" if context else "current-context names"
    chosen = merged.find("contexts", name, wanted_by)
    cluster_name, user_name = chosen.text("cluster"), chosen.text("user")
    if not cluster_name:
        raise ConfigurationError(f"{chosen} names no cluster; set it with kubectl config set-context --cluster")
    cluster = merged.find("clusters", cluster_name, f"context {name!r} names the cluster")
    user = (
        merged.find("users", user_name, f"context {name!r} names the user")
        if user_name
        else Entry("", {}, cluster.directory, "user")
    )
    return _configuration(chosen, cluster, user, environ, clock, f"{merged} (from {named_by}), context {name!r}")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise ConfigurationError(f"kubeconfig {path} is not a text file; name a kubeconfig") from None
    except OSError as error:
        raise ConfigurationError(
            f"kubeconfig {path} cannot be read: {error.strerror}; correct the path or its permissions"
        ) from error
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        # Neither chained nor quoted: the parser's message shows the text around the fault, which may be a key.
        raise ConfigurationError(f"kubeconfig {path} is not valid YAML{where}; correct it") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"kubeconfig {path} is not a kubeconfig: expected a mapping with clusters and contexts"
        )
    return document


def _configuration(
    context: Entry,
    cluster: Entry,
    user: Entry,
    environ: Mapping[str, str],
    clock: Clock,
    source: str,
) -> Configuration:
    server = cluster.text("server")
    if not server:
        raise ConfigurationError(f"{cluster} has no server; set it with kubectl config set-cluster --server")
    insecure = cluster.content.get("insecure-skip-tls-verify") is True
    ca_data = cluster.data("certificate-authority-data")
    ca_file = None if ca_data else cluster.readable("certificate-authority", clock)
    warnings = []
    if insecure:
        warnings.append(
            f"insecure-skip-tls-verify is set for {server}: anyone on the way can read and change everything; "
            "use certificate-authority instead"
        )
    authorities = ca_file.read() if ca_file else ca_data
    credentials = _credentials(context, cluster, user, environ, clock, authorities)
    return Configuration(
        server=server,
        credentials=credentials,
        trust=ServerTrust(
            ca_data=ca_data, ca_file=ca_file, insecure=insecure, server_name=cluster.text("tls-server-name")
        ),
        namespace=context.text("namespace"),
        proxy_url=cluster.text("proxy-url"),
        headers=_impersonation(user),
        disable_compression=cluster.content.get("disable-compression") is True,
        source=source,
        warnings=tuple(warnings),
    )


def _impersonation(user: Entry) -> tuple[tuple[str, str], ...]:
    groups = user.content.get("as-groups") or []
    extra = user.content.get("as-user-extra") or {}
    if not isinstance(groups, list) or not isinstance(extra, dict):
        raise ConfigurationError(f"{user}: as-groups must be a list, and as-user-extra lists by name; correct them")
    try:
        return impersonation_headers(
            user.text("as"),
            uid=user.text("as-uid"),
            groups=[str(group) for group in groups],
            extra={str(name): [str(value) for value in values or ()] for name, values in extra.items()},
        )
    except ValueError:
        raise ConfigurationError(
            f"{user}: as-uid, as-groups and as-user-extra need a user to impersonate; add as, or remove them"
        ) from None


def _certificates(user: Entry, clock: Clock) -> CertificateSource | None:
    certificate_data, key_data = user.data("client-certificate-data"), user.data("client-key-data")
    certificate_file = None if certificate_data else user.readable("client-certificate", clock)
    key_file = None if key_data else user.readable("client-key", clock)
    if not (certificate_data or certificate_file or key_data or key_file):
        return None
    if not ((certificate_data or certificate_file) and (key_data or key_file)):
        raise ConfigurationError(f"{user}: client-certificate and client-key belong together; give both or neither")
    if certificate_file and key_file:
        return CertificateFiles(certificate_file, key_file)
    certificate = certificate_data or (certificate_file.read() if certificate_file else b"")
    key = key_data or (key_file.read() if key_file else b"")
    return FixedCertificate(ClientCertificate(certificate, key))


def _credentials(
    context: Entry,
    cluster: Entry,
    user: Entry,
    environ: Mapping[str, str],
    clock: Clock,
    ca_data: bytes | None,
) -> Credentials:
    certificates = _certificates(user, clock)
    token_file = user.readable("tokenFile", clock)
    if token_file is not None:
        return TokenFileCredentials(token_file.path, clock=clock, certificates=certificates)
    if user.text("token"):
        return TokenCredentials(user.text("token"), certificates)
    if user.text("username"):
        return BasicCredentials(user.text("username"), user.text("password"), certificates)
    if certificates is not None:
        return NoCredentials(certificates)
    # As with kubectl: a plugin is asked only if the file holds nothing that could be used as it is.
    if user.content.get("exec"):
        return ExecCredentials(_plugin(cluster, user, environ, ca_data), clock=clock)
    if user.content.get("auth-provider"):
        return _auth_provider(context, cluster, user, clock)
    return NoCredentials()


def _auth_provider(context: Entry, cluster: Entry, user: Entry, clock: Clock) -> Credentials:
    provider = user.content["auth-provider"]
    settings = provider.get("config") or {} if isinstance(provider, dict) else None
    if not isinstance(settings, dict) or not provider.get("name"):
        raise ConfigurationError(f"{user}: auth-provider needs a name and a config; use an exec plugin instead")
    if provider["name"] != "oidc":
        from pyoperator.client._kubernetes_asyncio import legacy_credentials

        return legacy_credentials(context.name, context.content, cluster.content, user.content, user.directory)
    from pyoperator.client._oidc import OIDCCredentials, OIDCProvider

    config = Entry(user.name, settings, user.directory, user.what)
    if not config.text("idp-issuer-url").startswith(("https://", "http://")):
        raise ConfigurationError(f"{user}: the auth-provider oidc has no idp-issuer-url; name the provider's address")
    ca_data = config.data("idp-certificate-authority-data")
    trust = ServerTrust(
        ca_data=ca_data, ca_file=None if ca_data else config.readable("idp-certificate-authority", clock)
    )
    oidc = OIDCProvider(config.text("idp-issuer-url"), config.text("client-id"), config.text("client-secret"), trust)
    return OIDCCredentials(oidc, config.text("id-token"), config.text("refresh-token"), clock=clock)


def _plugin(cluster: Entry, user: Entry, environ: Mapping[str, str], ca_data: bytes | None) -> ExecPlugin:
    settings = user.content["exec"]
    if not isinstance(settings, dict) or not settings.get("command"):
        raise ConfigurationError(f"{user}: exec has no command; name the credential plugin")
    api_version = str(settings.get("apiVersion") or "")
    if api_version not in _EXEC_VERSIONS:
        raise ConfigurationError(
            f"{user}: exec apiVersion {api_version or '(none)'} is not supported; use {' or '.join(_EXEC_VERSIONS)}"
        )
    if settings.get("interactiveMode") == "Always":
        raise ConfigurationError(
            f"{user}: exec interactiveMode is Always, but an operator has no terminal; use IfAvailable or Never"
        )
    environment = dict(environ)
    for variable in settings.get("env") or []:
        environment[str(variable["name"])] = str(variable.get("value") or "")
    command = str(settings["command"])
    if "/" in command:
        command = str(user.directory / command)  # as kubectl: relative to the file; a bare name is looked up in PATH
    return ExecPlugin(
        api_version=api_version,
        command=command,
        arguments=tuple(str(argument) for argument in settings.get("args") or []),
        environment=environment,
        cluster=cluster_description(cluster.content, ca_data) if settings.get("provideClusterInfo") else None,
        install_hint=str(settings.get("installHint") or ""),
    )
