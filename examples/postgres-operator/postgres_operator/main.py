"""The ``postgres-operator`` command: flags, the manager, one controller."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from postgres_operator import names
from postgres_operator.api import Postgres
from postgres_operator.reconciler import PostgresReconciler
from pyoperator.cache import CacheOptions
from pyoperator.client import Configuration
from pyoperator.controller import ControllerOptions, EnqueueMapped, Request, controller_for, predicates
from pyoperator.health import ping
from pyoperator.manager import CacheConfiguration, Manager, configure_logging, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoperator.cache import Entry

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


class Duration(click.ParamType[float]):
    """Seconds, written as Go's tools write them: ``15s``, ``500ms``, ``1m30s``; a bare number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)", value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is not a duration: write it as 15s, 500ms or 1m30s", param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)


@dataclass(frozen=True, slots=True)
class Settings:
    """The command line, parsed; durations in seconds."""

    leader_elect: bool
    leader_election_id: str
    leader_election_namespace: str
    lease_duration: float
    renew_deadline: float
    retry_period: float
    metrics_bind_address: str
    metrics_cert_path: str | None
    health_probe_bind_address: str
    kubeconfig: str | None
    context: str | None
    namespace: tuple[str, ...]
    max_concurrent_reconciles: int


def build_manager(settings: Settings) -> Manager:
    """Make the manager and add the operator to it; raises the errors of both for wrong settings."""
    manager = Manager(
        Configuration.load(kubeconfig=settings.kubeconfig, context=settings.context),
        metrics_bind_address=settings.metrics_bind_address,
        metrics_certificate=certificate_files(settings.metrics_cert_path),
        health_probe_bind_address=settings.health_probe_bind_address,
        leader_election=settings.leader_elect,
        leader_election_id=settings.leader_election_id,
        leader_election_namespace=settings.leader_election_namespace,
        release_on_cancel=True,
        lease_duration=settings.lease_duration,
        renew_deadline=settings.renew_deadline,
        retry_period=settings.retry_period,
        cache=cache_configuration(settings.namespace),
        field_manager=names.MANAGER,
    )
    add_operator(manager, max_concurrent_reconciles=settings.max_concurrent_reconciles)
    return manager


def certificate_files(folder: str | None) -> tuple[str, str] | None:
    """Return certificate and key in a folder, under the names that a Secret of the type kubernetes.io/tls gives them."""
    return None if folder is None else (f"{folder}/tls.crt", f"{folder}/tls.key")


def cache_configuration(namespaces: tuple[str, ...] = ()) -> CacheConfiguration:
    """Cache of children only what carries our label: other people's Secrets never enter this process."""
    ours = CacheOptions(label_selector=names.MANAGED_SELECTOR)
    return CacheConfiguration(default_namespaces=namespaces, by_kind=dict.fromkeys(names.CHILDREN, ours))


def add_operator(manager: Manager, *, max_concurrent_reconciles: int = 1) -> None:
    """Add the checks and the controller to a manager."""
    manager.add_healthz_check("healthz", ping)
    manager.add_readyz_check("readyz", ping)
    reconciler = PostgresReconciler(
        manager.client, manager.api_reader, manager.event_recorder(names.MANAGER), manager.clock
    )
    (
        controller_for(manager)
        # Our own status writes change no generation and need no second look.
        .for_(Postgres, predicates=[predicates.GenerationChanged()])
        .owns(names.CONFIG_MAP)
        .owns(names.SERVICE)
        .owns(names.STATEFUL_SET)
        .owns(names.DISRUPTION_BUDGET)
        # Found by label: claims belong to no Postgres, and a Secret restored from a backup has lost its owner.
        .watches(names.SECRET, EnqueueMapped(_cluster_of))
        .watches(names.CLAIM, EnqueueMapped(_cluster_of))
        .with_options(ControllerOptions(max_concurrent_reconciles=max_concurrent_reconciles))
        .complete(reconciler)
    )


def _cluster_of(child: Entry) -> Iterable[Request]:
    cluster = child.metadata.labels.get(names.CLUSTER_LABEL)
    return [Request(child.metadata.namespace, cluster)] if cluster else []


@click.command(context_settings={"auto_envvar_prefix": "POSTGRES_OPERATOR", "show_default": True})
@click.option(
    "--leader-elect",
    type=bool,
    is_flag=False,
    flag_value=True,
    default=False,
    metavar="[BOOLEAN]",
    help="Enable leader election for the controller manager: ensures that only one controller manager is active.",
)
@click.option("--leader-election-id", default="postgres-operator.example.com", help="Name of the Lease.")
@click.option("--leader-election-namespace", default="", help="Namespace of the Lease; in a cluster, the pod's own.")
@click.option("--lease-duration", type=Duration(), default="15s", help="How long followers wait for a silent leader.")
@click.option("--renew-deadline", type=Duration(), default="10s", help="How long the leader may fail to renew.")
@click.option("--retry-period", type=Duration(), default="2s", help="Time between attempts.")
@click.option("--metrics-bind-address", default=":8080", help="Address of /metrics; 0 turns it off.")
@click.option(
    "--metrics-cert-path", default=None, help="Folder with tls.crt and tls.key: metrics are served over HTTPS."
)
@click.option("--health-probe-bind-address", default=":8081", help="Address of /healthz and /readyz; 0 turns it off.")
@click.option(
    "--kubeconfig",
    default=None,
    help="Path to a kubeconfig. Default: $KUBECONFIG, else the pod's service account, else ~/.kube/config.",
)
@click.option("--context", default=None, help="Context of the kubeconfig; its current one if left out.")
@click.option("--namespace", multiple=True, help="Namespace to work in, repeatable; all if left out.")
@click.option("--max-concurrent-reconciles", type=click.IntRange(min=1), default=4, help="Databases handled at once.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", help="Least level to log."
)
@click.option(
    "--log-format", type=click.Choice(["auto", "console", "json"]), default="auto", help="auto: console on a terminal."
)
@click.version_option(package_name="postgres-operator", prog_name="postgres-operator")
@click.pass_context
def main(ctx: click.Context, /, *, log_level: str, log_format: Any, **options: Any) -> None:
    """Run highly available PostgreSQL databases, described by Postgres objects.

    Every flag has a twin in the environment: --lease-duration is POSTGRES_OPERATOR_LEASE_DURATION. Exit codes: 0 clean,
    1 failure, 2 wrong usage or configuration, 3 leadership lost, 4 could not stop in time.
    """
    configure_logging(log_level, log_format)
    ctx.exit(run(lambda: build_manager(Settings(**options))))


if __name__ == "__main__":
    main()
