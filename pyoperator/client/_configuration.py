"""Where the API server is and who we are to it, and which source said so."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pyoperator.client._credentials import NoCredentials, RotatingFile, TokenFileCredentials
from pyoperator.client._tls import ServerTrust
from pyoperator.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.client._credentials import Credentials
    from pyoperator.clock import Clock

SERVICE_ACCOUNT_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigurationError(Exception):
    """There is no usable configuration; one line that says what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """How to reach and convince one API server.

    ``source`` tells where all this came from, for one line in the log; ``warnings`` what a careful reader should know
    (the transport logs them). ``headers`` go with every request (impersonation). ``namespace`` is the context's or the
    pod's own, "" if neither says.
    """

    server: str
    credentials: Credentials = field(default_factory=NoCredentials)
    trust: ServerTrust = field(default_factory=ServerTrust)
    namespace: str = ""
    proxy_url: str = field(default="", repr=False)  # may hold a password
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    disable_compression: bool = False
    source: str = "given by the program"
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.server.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"the server's address {self.server!r} ({self.source}) must start with https:// or http://"
            )
        if self.proxy_url and not self.proxy_url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"the proxy of {self.source} is of a kind that is not supported: use an http:// or https:// proxy-url"
            )

    @classmethod
    def load(
        cls,
        kubeconfig: str | os.PathLike[str] | None = None,
        context: str | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        clock: Clock | None = None,
        service_account_directory: Path = SERVICE_ACCOUNT_DIRECTORY,
    ) -> Configuration:
        """Find the configuration: ``kubeconfig`` > $KUBECONFIG > in-cluster > ~/.kube/config.

        A named ``context`` leaves in-cluster out. Raises ConfigurationError.
        """
        from pyoperator.client._kubeconfig import load_kubeconfig

        environ = os.environ if environ is None else environ
        clock = clock if clock is not None else SystemClock()
        if kubeconfig:
            return load_kubeconfig([Path(kubeconfig)], context, environ, clock, named_by="the argument kubeconfig")
        listed = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
        if listed:
            return load_kubeconfig(listed, context, environ, clock, named_by="$KUBECONFIG")
        if not context and in_cluster(environ, service_account_directory):
            return load_in_cluster(environ, service_account_directory, clock)
        home = environ.get("HOME", "")
        default = Path(home, ".kube", "config") if home else None
        if default is not None and default.exists():
            return load_kubeconfig([default], context, environ, clock, named_by="the default")
        raise ConfigurationError(
            "no configuration found: no kubeconfig was given, there is no $KUBECONFIG, no service account of a pod and no "
            f"{default or '~/.kube/config'}; give Configuration.load(kubeconfig=FILE), or set KUBECONFIG"
        )


def in_cluster(environ: Mapping[str, str], directory: Path) -> bool:
    """Tell whether this process runs in a pod with a service account."""
    return bool(
        environ.get("KUBERNETES_SERVICE_HOST")
        and environ.get("KUBERNETES_SERVICE_PORT")
        and (directory / "token").exists()
    )


def load_in_cluster(environ: Mapping[str, str], directory: Path, clock: Clock) -> Configuration:
    """Use the pod's service account; its token and CA are read again as they are rotated."""
    host = environ["KUBERNETES_SERVICE_HOST"]
    if ":" in host:
        host = f"[{host}]"
    try:
        namespace = (directory / "namespace").read_text().strip()
    except OSError:
        namespace = ""
    if not (directory / "ca.crt").exists():
        raise ConfigurationError(f"{directory / 'ca.crt'} is missing: mount the cluster's CA with the service account")
    return Configuration(
        server=f"https://{host}:{environ['KUBERNETES_SERVICE_PORT']}",
        credentials=TokenFileCredentials(directory / "token", clock=clock),
        trust=ServerTrust(ca_file=RotatingFile(directory / "ca.crt", clock)),
        namespace=namespace,
        source="in-cluster service account",
    )
