"""What an election is called, who campaigns, and the three durations that everything else follows from."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pyoperator.clock import Randomness

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"{_LABEL}\Z")
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\Z")

SERVICE_ACCOUNT_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ElectionConfigError(ValueError):
    """The election can't work as configured; the message says which value is wrong and what would be right."""


def default_identity(environ: Mapping[str, str] | None = None, randomness: Randomness | None = None) -> str:
    """Return ``<host>_<uuid>``: POD_NAME, else HOSTNAME, else the machine's name, and a UUID of this process's start.

    The UUID keeps three replicas on one host apart, and a restarted process from its former self.
    """
    source = os.environ if environ is None else environ
    host = source.get("POD_NAME") or source.get("HOSTNAME") or socket.gethostname()
    return f"{host}_{(randomness or Randomness()).uuid()}"


def default_namespace(
    flag: str = "",
    environ: Mapping[str, str] | None = None,
    service_account_file: Path = SERVICE_ACCOUNT_NAMESPACE_FILE,
) -> str:
    """Return the Lease's namespace: ``flag``, else POD_NAMESPACE, else the one of the pod's service account.

    Raises ElectionConfigError, which names the option, when none of them tells: outside a cluster nobody can guess it.
    """
    if flag:
        return flag
    source = os.environ if environ is None else environ
    if namespace := source.get("POD_NAMESPACE", ""):
        return namespace
    try:
        namespace = service_account_file.read_text(encoding="utf-8").strip()
    except OSError:
        namespace = ""
    if namespace:
        return namespace
    raise ElectionConfigError(
        "not running in a pod, so the Lease's namespace can't be found: "
        "give leader_election_namespace=... (namespace=... of an ElectionConfig), or set POD_NAMESPACE"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionConfig:
    """Settings of one candidate in one election; all durations in seconds, defaults as in controller-runtime.

    ``lease_duration``: how long the others wait, from the last renewal they saw, before one of them takes over.
    ``renew_deadline``: how long after *sending* its last successful renewal a leader may still act.
    ``retry_period``: how often the leader renews, and how often a follower that can't watch looks.
    ``release_on_cancel`` is True here (False in controller-runtime) because the Lease is released only after the work
    has stopped. ``namespace`` and ``identity`` are found by ``default_namespace()`` and ``default_identity()`` if not given:
    in a pod both are right as they are. ``labels`` are put on a Lease that this candidate creates; an existing Lease keeps its own.

    Raises ElectionConfigError when the values don't fit together.
    """

    name: str
    namespace: str = field(default_factory=default_namespace)
    identity: str = field(default_factory=default_identity)
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0
    jitter_factor: float = 1.2
    release_on_cancel: bool = True
    labels: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        _check_names(self.name, self.namespace, self.identity)
        if self.jitter_factor < 0:
            raise ElectionConfigError(f"jitter factor {self.jitter_factor:g} is negative; the default is 1.2")
        if self.retry_period <= 0:
            raise ElectionConfigError(
                f"retry period {self.retry_period:g} s must be above zero: it is the pause between two renewals (default 2)"
            )
        if self.lease_duration != int(self.lease_duration) or self.lease_duration < 1:
            raise ElectionConfigError(
                f"lease duration {self.lease_duration:g} s is not a positive whole number of seconds: the Lease stores it as an "
                "integer, and followers that read a truncated value would take over early"
            )
        if self.lease_duration <= self.renew_deadline:
            raise ElectionConfigError(
                f"lease duration ({self.lease_duration:g} s) must be greater than renew deadline ({self.renew_deadline:g} s): the "
                "difference is the time a leader has to stop before another may start (defaults 15 and 10)"
            )
        if self.renew_deadline <= self.jitter_factor * self.retry_period:
            raise ElectionConfigError(
                f"renew deadline ({self.renew_deadline:g} s) must be greater than {self.jitter_factor:g} x retry period "
                f"({self.retry_period:g} s): a leader needs time for more than one attempt (defaults 10 and 2)"
            )

    @property
    def request_timeout(self) -> float:
        """Upper bound of one election request, in seconds: half the renew deadline leaves room for a second try."""
        return self.renew_deadline / 2

    @property
    def write_margin(self) -> float:
        """Time before valid-until, in seconds, from which the fence refuses: what is sent must be able to arrive."""
        return min(1.0, self.retry_period / 2)

    @property
    def path(self) -> str:
        """The Lease's own path."""
        return f"{self.collection_path}/{self.name}"

    @property
    def collection_path(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"


def _check_names(name: str, namespace: str, identity: str) -> None:
    if not name:
        raise ElectionConfigError(
            "leader election needs a name for its Lease: give leader_election_id=... (name=... of an "
            "ElectionConfig), for example postgres-operator.example.com, the same on every replica"
        )
    if len(name) > 253 or not _DNS_SUBDOMAIN.match(name):
        raise ElectionConfigError(
            f"{name!r} can't name a Lease: use lower-case letters, digits, '-' and '.', starting and ending with a letter or digit"
        )
    if not namespace:
        raise ElectionConfigError(
            "leader election needs the namespace of its Lease: give "
            "leader_election_namespace=... (namespace=... of an ElectionConfig)"
        )
    if len(namespace) > 63 or not _DNS_LABEL.match(namespace):
        raise ElectionConfigError(
            f"{namespace!r} can't be a namespace: use at most 63 lower-case letters, digits and '-', "
            "starting and ending with a letter or digit"
        )
    if not identity:
        raise ElectionConfigError(
            "the candidate's identity is empty, and an empty holder means that nobody leads: use default_identity()"
        )
