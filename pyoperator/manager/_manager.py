"""The Manager: everything an operator needs, made once, started and stopped in the right order."""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import TYPE_CHECKING, Any, Literal

import structlog

from pyoperator.cache import Cache, CachedClient
from pyoperator.client import Client, OpenGate
from pyoperator.clock import Randomness, SystemClock
from pyoperator.health import HealthChecks, leadership_check, probe_application
from pyoperator.manager._election import HostedElection
from pyoperator.manager._errors import ManagerError
from pyoperator.manager._life_cycle import LifeCycle, Phase, Service
from pyoperator.manager._metrics import register_sources
from pyoperator.manager._options import CacheConfiguration, validated
from pyoperator.manager._permissions import PermissionCheck, of_election, of_informers
from pyoperator.manager._reachability import Reachability
from pyoperator.manager._runnable import FunctionRunnable, Runnable, name_of
from pyoperator.manager._services import BackgroundTask, CacheRunnable, DeferredServer, SupervisedServer
from pyoperator.manager._status import ManagerStatus
from pyoperator.manager._supervisor import Supervisor
from pyoperator.manager._transitions import announce
from pyoperator.metrics import EventLoopMonitor, MetricsRegistry, metrics_application
from pyoperator.objects import Scheme
from pyoperator.serving import CertificateWatcher, HTTPServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from structlog.typing import FilteringBoundLogger

    from pyoperator.client import Configuration, Gate, RESTMapper, Transport
    from pyoperator.clock import Clock
    from pyoperator.events import EventRecorder
    from pyoperator.health import Check
    from pyoperator.leaderelection import Leadership, Transition
    from pyoperator.manager._permissions import Permission
    from pyoperator.manager._runnable import GroupName
    from pyoperator.metrics import Source


class Manager:
    """Own clients, cache, election, health, metrics and the life of everything that is added.

    ``configuration`` says which API server (default: ``Configuration.load()``); ``transport_factory(gate)`` replaces
    it, which is how tests run in-process. ``scheme`` knows the kinds. ``cache`` and ``namespaces`` say what is cached
    (default: what is asked for, in all namespaces).

    ``metrics_bind_address`` and ``health_probe_bind_address``: "0" is off. ``metrics_certificate``: files of a
    certificate and key, for HTTPS, reloaded on change.

    ``leader_election`` with ``leader_election_id`` (the Lease's name, equal on all replicas) lets one replica work at a
    time; ``lease_duration`` > ``renew_deadline`` > 1.2 x ``retry_period``, in seconds. ``release_on_cancel`` (also
    ``leader_election_release_on_cancel``) gives the Lease back on a clean stop, once all work has stopped; default
    True. ``on_lost``: end the process ("exit") or campaign again ("recampaign") when leadership is lost.

    ``graceful_shutdown_timeout`` in seconds for the whole stop; 0 does not wait, None waits for ever. ``drain_delay``:
    seconds between failing readiness and the beginning of the stop.

    Names and semantics are those of controller-runtime's manager, except where the guide on high availability says
    otherwise. Raises ManagerError, BindAddressError, ElectionConfigError, ConfigurationError: one line each.
    """

    def __init__(
        self,
        configuration: Configuration | None = None,
        *,
        transport_factory: Callable[[Gate], Transport] | None = None,
        scheme: Scheme | None = None,
        cache: CacheConfiguration | None = None,
        namespaces: tuple[str, ...] = (),
        field_manager: str = "",
        metrics_bind_address: str = ":8080",
        metrics_certificate: tuple[str, str] | None = None,
        health_probe_bind_address: str = ":8081",
        liveness_endpoint_name: str = "/healthz",
        readiness_endpoint_name: str = "/readyz",
        leader_election: bool = False,
        leader_election_id: str = "",
        leader_election_namespace: str = "",
        release_on_cancel: bool | None = None,
        leader_election_release_on_cancel: bool | None = None,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        identity: str = "",
        on_lost: Literal["exit", "recampaign"] = "exit",
        graceful_shutdown_timeout: float | None = 30.0,
        drain_delay: float = 0.0,
        clock: Clock | None = None,
        random: Randomness | None = None,
        logger: FilteringBoundLogger | None = None,
        exit_process: Callable[[int], None] = os._exit,
    ) -> None:
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.random = random if random is not None else Randomness()
        self.logger: FilteringBoundLogger = logger if logger is not None else structlog.get_logger("pyoperator.manager")
        self.scheme = scheme if scheme is not None else Scheme()
        self.options = validated(
            metrics_bind_address=metrics_bind_address,
            health_probe_bind_address=health_probe_bind_address,
            leader_election=leader_election,
            leader_election_id=leader_election_id,
            leader_election_namespace=leader_election_namespace,
            release_on_cancel=release_on_cancel,
            leader_election_release_on_cancel=leader_election_release_on_cancel,
            lease_duration=lease_duration,
            renew_deadline=renew_deadline,
            retry_period=retry_period,
            identity=identity,
            graceful_shutdown_timeout=graceful_shutdown_timeout,
            drain_delay=drain_delay,
            on_lost=on_lost,
            random=self.random,
        )
        self._exit_process = exit_process
        self._factory = transport_factory or _http(configuration, self.clock)
        open_transport = self._factory(OpenGate())
        # In-process transports belong to one loop: no second thread, and nobody outside to serve.
        self._in_process = bool(getattr(open_transport, "in_process", False))
        self._supervisor = Supervisor(threaded=not self._in_process)
        self._election = self._make_election()
        self._open_transport = open_transport
        self._transport = open_transport if self._election is None else self._factory(self._election.leadership)

        cached = cache if cache is not None else CacheConfiguration()
        if namespaces and cached.default_namespaces:
            raise ManagerError("namespaces and cache.default_namespaces say the same: give one of them")
        self.cache = Cache(
            self._transport,
            self.scheme,
            clock=self.clock,
            random=self.random,
            by_kind=cached.by_kind,
            default_namespaces=tuple(namespaces) or cached.default_namespaces,
            default_options=cached.default_options,
        )
        self.api_reader = self._make_client(self._transport, field_manager)
        self.client = CachedClient(self.api_reader, self.cache)
        self._field_manager = field_manager

        self.controller_names: set[str] = set()
        self.healthz = HealthChecks()
        self.readyz = HealthChecks()
        self.metrics = MetricsRegistry()
        self._extra_handlers: dict[str, Any] = {}
        self._recorders: dict[str, EventRecorder] = {}
        self._paths = (liveness_endpoint_name, readiness_endpoint_name)
        self._event_loop = EventLoopMonitor()
        self._certificates = None if metrics_certificate is None else CertificateWatcher(*metrics_certificate)
        self._reachability = Reachability(self._open_transport, self.logger)
        self._permissions = PermissionCheck(self._open_transport, self._needed_permissions, self.logger)
        self._probe_server = SupervisedServer(self._supervisor, self._make_probe_server)
        self._metrics_server: HTTPServer | None = None
        self._started = False
        self._life = LifeCycle(
            election=self._election,
            services=self._make_services(),
            preflight=self._preflight,
            graceful_shutdown_timeout=self.options.graceful_shutdown_timeout,
            drain_delay=self.options.drain_delay,
            on_lost=self.options.on_lost,
            logger=self.logger,
        )
        self._life.add(CacheRunnable(self.cache), "caches")
        self._election_recorder = None if self._election is None else self.event_recorder("leader-election")
        self._add_built_in_checks()
        register_sources(
            self.metrics,
            transports=lambda: [self._transport, *([] if self._election is None else [self._open_transport])],
            cache=self.cache,
            election=self._election,
            healthz=self.healthz,
            readyz=self.readyz,
            event_loop=self._event_loop,
            certificates=self._certificates,
        )

    # Clients.

    def unfenced_client(self, *, reason: str) -> CachedClient:
        """Return a client whose writes do not depend on leading: for webhooks and runnables on every replica.

        ``reason`` says, in the log, why two replicas may write at once.
        """
        if not reason.strip():
            raise ManagerError("unfenced_client() needs a reason: why is it safe that every replica writes at once?")
        self.logger.info("unfenced client handed out", reason=reason)
        return CachedClient(self._make_client(self._open_transport, self._field_manager), self.cache)

    @property
    def rest_mapper(self) -> RESTMapper:
        return self.api_reader.rest_mapper

    @property
    def field_indexer(self) -> Cache:
        """Where ``add_index(kind, name, function)`` is; the name that controller-runtime's users look for."""
        return self.cache

    def event_recorder(self, name: str) -> EventRecorder:
        """Return the recorder of events whose reporting component is ``name``; one per name, run by the manager."""
        recorder = self._recorders.get(name)
        if recorder is None:
            from pyoperator.events import EventRecorder

            recorder = EventRecorder(
                self._make_client(self._open_transport, ""),
                name,
                scheme=self.scheme,
                clock=self.clock,
                random=self.random,
                identity=self.options.election.identity if self.options.election is not None else "",
            )
            self._life.add(recorder, "recorders")
            self._recorders[name] = recorder
        return recorder

    # Leadership.

    @property
    def elected(self) -> asyncio.Event:
        """Set while leader-only runnables may run; without election from the end of the start on."""
        return self._life.elected

    @property
    def leadership(self) -> Leadership:
        """The fence, with ``check()`` and ``token`` for what is no Kubernetes write. Raises ManagerError if off."""
        if self._election is None:
            raise ManagerError("there is no leadership without leader election: Manager(leader_election=True, ...)")
        return self._election.leadership

    # What is added.

    def add(
        self,
        runnable: Runnable | Callable[[], Awaitable[None]],
        /,
        *,
        group: GroupName | None = None,
        need_leader_election: bool | None = None,
    ) -> None:
        """Add something to run: on the leader only, unless it, or ``need_leader_election=False``, says otherwise.

        ``group`` places it by hand: "webhooks" (before caches), "caches" (the start waits for its ``ready()``),
        "others" (every replica), "leader". After the start it starts at once; after the stop it is a ManagerError.
        """
        if inspect.iscoroutinefunction(runnable):
            runnable = FunctionRunnable(runnable)
        if not isinstance(runnable, Runnable):
            raise ManagerError(
                f"{name_of(runnable)} can't be run: give an object with `async def run(self)`, or an async function"
            )
        if group is None:
            wanted = need_leader_election
            if wanted is None:
                wanted = bool(getattr(runnable, "need_leader_election", True))
            group = "leader" if wanted else "others"
        self._life.add(runnable, group)

    def add_healthz_check(self, name: str, check: Check, /) -> None:
        """Add a liveness check: failing long enough gets the process restarted."""
        self.healthz.add(name, check)

    def add_readyz_check(self, name: str, check: Check, /) -> None:
        """Add a readiness check: while it fails, no traffic and no progress of a rolling update."""
        self.readyz.add(name, check)

    def add_metrics_collector(self, source: Source, /) -> None:
        """Add a source of metric families; for prometheus_client metrics see ``metrics.prometheus``."""
        self.metrics.add(source)

    def add_metrics_server_extra_handler(self, path: str, handler: Callable[..., Awaitable[Any]], /) -> None:
        """Serve ``handler`` (aiohttp) at ``path`` of the metrics server, for debugging endpoints."""
        if self._started:
            raise ManagerError("extra handlers must be added before the manager starts")
        if not path.startswith("/") or path == "/metrics" or path in self._extra_handlers:
            raise ManagerError(f"path {path!r} can't be used: it must begin with '/', be new, and not be /metrics")
        self._extra_handlers[path] = handler

    # Life.

    async def start(self) -> None:
        """Start everything and run until cancelled, stopped, failed, or no longer the leader; then stop everything.

        Returns after ``stop()``. Raises a runnable's error, LeadershipLost, StopTimedOut, BindError, or CancelledError
        when it was cancelled (after the stop; a second cancellation gives up waiting).
        """
        if self._started:
            raise ManagerError("this manager has been started before: a manager lives once, make a new Manager")
        self._started = True
        life = asyncio.create_task(self._life.run(), name="manager")
        try:
            await asyncio.shield(life)
        except asyncio.CancelledError:
            self._life.request_stop("cancelled")
            while not life.done():
                try:
                    await asyncio.wait([life])
                except asyncio.CancelledError:
                    self._life.hurry()
            life.result()
            raise
        finally:
            await self._close()

    def stop(self, reason: str = "asked to stop") -> None:
        """Begin the graceful stop; ``start()`` returns when it is complete. Call it on the manager's loop."""
        self._life.request_stop(reason)

    def run(self, *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> int:
        """Run in this thread until stopped by SIGINT or SIGTERM, and return the process's exit code.

        0 clean, 1 failure (also a second signal, at once), 2 usage or configuration, 3 leadership lost, 4 stop timed
        out. What hangs beyond the time for stopping can't be waited for: then the process is ended here.
        """
        from pyoperator.manager._running import run_manager

        return run_manager(self, loop_factory, self._exit_process)

    # State.

    def status(self) -> ManagerStatus:
        """Return what the manager is doing; call it on its loop."""
        return ManagerStatus(
            phase=self._life.phase,
            leads=self._life.leads,
            waiting_for=self._waiting_for(),
            runnables=self._life.names(),
            election=None if self._election is None else self._election.status(),
            cache=self.cache.status(),
            metrics_port=0 if self._metrics_server is None else self._metrics_server.port,
            health_probe_port=self._probe_server.port,
        )

    def __repr__(self) -> str:
        who = "" if self.options.election is None else f" {self.options.election.identity!r}"
        return f"<Manager{who} {self._life.phase.value}>"

    # Parts.

    def _make_election(self) -> HostedElection | None:
        config = self.options.election
        if config is None:
            return None
        return HostedElection(
            config,
            self._factory,
            supervisor=self._supervisor,
            clock=self.clock,
            random=self.random,
            on_transition=self._on_transition,
        )

    def _make_client(self, transport: Transport, field_manager: str) -> Client:
        return Client(transport, scheme=self.scheme, field_manager=field_manager, clock=self.clock, random=self.random)

    def _make_services(self) -> list[Service]:
        if self._in_process:
            return [self._supervisor, self._permissions]
        services: list[Service] = [
            self._supervisor,
            self._permissions,
            self._probe_server,
            BackgroundTask("event loop monitor", self._event_loop.run),
        ]
        if self._certificates is not None:
            services.append(BackgroundTask("certificate watcher", self._certificates.run))
        if not self.options.metrics.disabled:
            services.append(DeferredServer(self._make_metrics_server))
        return services

    def _make_probe_server(self) -> HTTPServer:
        liveness, readiness = self._paths
        application = probe_application(
            healthz=self.healthz,
            readyz=self.readyz,
            work_loop=asyncio.get_running_loop(),
            liveness_path=liveness,
            readiness_path=readiness,
        )
        return HTTPServer(
            self.options.health_probe, application, name="health probes", option="--health-probe-bind-address"
        )

    def _make_metrics_server(self) -> HTTPServer:
        application = metrics_application(self.metrics, extra_handlers=self._extra_handlers)
        context = None if self._certificates is None else self._certificates.context
        self._metrics_server = HTTPServer(
            self.options.metrics, application, context, name="metrics", option="--metrics-bind-address"
        )
        return self._metrics_server

    def _add_built_in_checks(self) -> None:
        self.readyz.add("startup", self._check_startup)
        self.readyz.add("informers", self.cache.check_ready)
        self.readyz.add("permissions", self._permissions.check)
        self.readyz.add("shutdown", self._check_shutdown)
        election = self._election
        if election is not None:
            self.healthz.add(
                "leadership",
                leadership_check(
                    leads=lambda: self._life.leads,
                    valid_until=lambda: election.leadership.valid_until,
                    elapsed=self.clock.elapsed,
                ),
            )

    def _check_startup(self) -> None:
        if self._life.phase in {Phase.NEW, Phase.STARTING, Phase.SYNCING}:
            raise ManagerError("; ".join(self._waiting_for()) or "starting")

    def _check_shutdown(self) -> None:
        if self._life.phase in {Phase.DRAINING, Phase.STOPPING, Phase.STOPPED}:
            raise ManagerError("shutting down")

    async def _preflight(self) -> None:
        await self._reachability.wait()
        self._permissions.begin()

    def _needed_permissions(self) -> Iterator[Permission]:
        yield from of_informers(self.cache.informers)
        if self.options.election is not None:
            yield from of_election(self.options.election)

    def _waiting_for(self) -> tuple[str, ...]:
        found = [self._reachability.problem] if self._reachability.problem else []
        found += self._permissions.problems
        found += [f"{name} is warming up" for name in self._life.warming_up]
        if self._life.phase is Phase.SYNCING:
            found += self.cache.health().problems
        return tuple(found)

    def _on_transition(self, transition: Transition) -> None:
        announce(transition, self.logger, self._election_recorder)

    async def _close(self) -> None:
        await self.healthz.aclose()
        await self.readyz.aclose()
        await self._transport.aclose()
        if self._open_transport is not self._transport:
            await self._open_transport.aclose()


def _http(configuration: Configuration | None, clock: Clock) -> Callable[[Gate], Transport]:
    from pyoperator.client import AiohttpTransport, Configuration

    found = configuration if configuration is not None else Configuration.load(clock=clock)
    return lambda gate: AiohttpTransport(found, gate=gate, clock=clock)
