"""The Manager: everything an operator needs, made once, started and stopped in the right order."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import structlog

from pyoperator.cache import Cache
from pyoperator.clock import Randomness, SystemClock
from pyoperator.leaderelection import PROCESS_SWITCH, StallGuard, announce
from pyoperator.manager._connections import Connections
from pyoperator.manager._election import HostedElection
from pyoperator.manager._errors import ManagerError
from pyoperator.manager._life_cycle import LifeCycle, Phase
from pyoperator.manager._metrics import register_sources
from pyoperator.manager._metrics_endpoint import MetricsEndpoint
from pyoperator.manager._options import CacheConfiguration, check_parts, namespaces_of, validated
from pyoperator.manager._prerequisites import Prerequisites
from pyoperator.manager._probes import Probes
from pyoperator.manager._runnable import GROUPS, checked_runnable
from pyoperator.manager._running import live, run_manager
from pyoperator.manager._services import CacheRunnable
from pyoperator.manager._status import ManagerStatus
from pyoperator.manager._supervisor import Supervisor
from pyoperator.objects import Scheme

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache import CachedClient
    from pyoperator.client import Client, Configuration, Gate, RESTMapper, Transport
    from pyoperator.clock import Clock
    from pyoperator.events import EventRecorder
    from pyoperator.health import Check, HealthChecks
    from pyoperator.leaderelection import Leadership, Transition
    from pyoperator.manager._options import ManagerOptions
    from pyoperator.manager._runnable import GroupName, Runnable
    from pyoperator.manager._service_stack import Service
    from pyoperator.metrics import MetricsRegistry, Source


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

    ``stall_limit``: for how many seconds the work loop may stand still before a leader renews no more, default
    ``renew_deadline``; a leader's process that goes on standing still is ended, with code 1, before its lease is not its
    own any more. ``dead_mans_switch`` does the same when a native call keeps the GIL, by a timer of the kernel; default: on
    in ``run()``, off in ``start()``.

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
        stall_limit: float | None = None,
        dead_mans_switch: bool | None = None,
        clock: Clock | None = None,
        random: Randomness | None = None,
        logger: FilteringBoundLogger | None = None,
        exit_process: Callable[[int], None] = os._exit,
    ) -> None:
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.random: Randomness = random if random is not None else Randomness()
        self.logger: FilteringBoundLogger = logger if logger is not None else structlog.get_logger("pyoperator.manager")
        self.scheme: Scheme = scheme if scheme is not None else Scheme()
        self.options: ManagerOptions = validated(
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
            stall_limit=stall_limit,
            dead_mans_switch=dead_mans_switch,
            random=self.random,
        )
        check_parts(configuration=configuration, scheme=scheme, cache=cache, clock=clock, random=random)
        self._exit_process = exit_process
        self._connections = Connections(
            configuration,
            transport_factory,
            scheme=self.scheme,
            clock=self.clock,
            random=self.random,
            logger=self.logger,
        )
        self._supervisor = Supervisor(threaded=not self._connections.in_process)
        self._guard = StallGuard(
            self._supervisor,
            limit=self.options.stall_limit,
            election=self.options.election,
            elapsed=self.clock.elapsed,
            leads=lambda: self._life.leads,
            end_process=exit_process,
            logger=self.logger,
        )
        self._election = self._make_election()
        if self._election is not None:
            self._connections.fence(self._election.leadership)

        cached = cache if cache is not None else CacheConfiguration()
        self.cache: Cache = Cache(
            self._connections.fenced,
            self.scheme,
            clock=self.clock,
            random=self.random,
            by_kind=cached.by_kind,
            default_namespaces=namespaces_of(namespaces, cached),
            default_options=cached.default_options,
            implicit_informers=cached.implicit_informers,
        )
        self.api_reader: Client = self._connections.client(self._connections.fenced, field_manager)
        self._cached = cached
        self.client: CachedClient = cached.client(self.api_reader, self.cache)
        self._field_manager = field_manager

        self.controller_names: set[str] = set()
        self._probes = Probes(
            self._supervisor,
            self.options.health_probe,
            liveness_path=liveness_endpoint_name,
            readiness_path=readiness_endpoint_name,
            place=self._guard.heartbeat.place,
        )
        self.healthz: HealthChecks = self._probes.healthz
        self.readyz: HealthChecks = self._probes.readyz
        self._metrics = MetricsEndpoint(self.options.metrics, metrics_certificate)
        self.metrics: MetricsRegistry = self._metrics.registry
        self._recorders: dict[str, EventRecorder] = {}
        self._prerequisites = Prerequisites(
            self._connections.open,
            self.cache,
            self.options.election,
            warming_up=lambda: self._life.warming_up,
            syncing=lambda: self._life.phase is Phase.SYNCING,
            records=lambda: any(recorder is not self._election_recorder for recorder in self._recorders.values()),
            logger=self.logger,
        )
        self._started = self._runs_process = False
        self._life = LifeCycle(
            election=self._election,
            services=self._make_services(),
            preflight=self._prerequisites.preflight,
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
            transports=self._connections.all,
            cache=self.cache,
            election=self._election,
            healthz=self.healthz,
            readyz=self.readyz,
            event_loop=self._metrics.event_loop,
            certificates=self._metrics.certificates,
        )

    # Clients.

    def unfenced_client(self, *, reason: str) -> CachedClient:
        """Return a client whose writes do not depend on leading: for webhooks and runnables on every replica.

        ``reason`` says, in the log, why two replicas may write at once.
        """
        if not reason.strip():
            raise ManagerError("unfenced_client() needs a reason: why is it safe that every replica writes at once?")
        self.logger.info("unfenced client handed out", reason=reason)
        unfenced = self._connections.client(self._connections.open, self._field_manager)
        return self._cached.client(unfenced, self.cache)

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
                self._connections.client(self._connections.open, ""),
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
        runnable = checked_runnable(runnable)
        if group is None:
            wanted = need_leader_election
            if wanted is None:
                wanted = bool(getattr(runnable, "need_leader_election", True))
            group = "leader" if wanted else "others"
        elif group not in GROUPS:
            raise ManagerError(f"group={group!r} is unknown: use one of {', '.join(GROUPS)}")
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
        self._metrics.add_handler(path, handler)

    # Life.

    async def start(self) -> None:
        """Start everything and run until cancelled, stopped, failed, or no longer the leader; then stop everything.

        Returns after ``stop()``. Raises a runnable's error, LeadershipLost, StopTimedOut, BindError, or CancelledError
        when it was cancelled (after the stop; a second cancellation gives up waiting).
        """
        if self._started:
            raise ManagerError("this manager has been started before: a manager lives once, make a new Manager")
        self._started = True
        wanted = self.options.dead_mans_switch
        # On one loop with its election, on virtual time perhaps, there is nothing for a timer of real time to guard.
        armed = not self._connections.in_process and (self._runs_process if wanted is None else wanted)
        try:
            with self._guard.armed(PROCESS_SWITCH) if armed else nullcontext():
                await live(self._life)
        finally:
            await self._probes.aclose()
            await self._connections.aclose()

    def stop(self, reason: str = "asked to stop") -> None:
        """Begin the graceful stop; ``start()`` returns when it is complete. Call it on the manager's loop."""
        self._life.request_stop(reason)

    def run(self, *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> int:
        """Run in this thread until stopped by SIGINT or SIGTERM, and return the process's exit code.

        0 clean, 1 failure (also a second signal, at once), 2 usage or configuration, 3 leadership lost, 4 stop timed
        out. What hangs beyond the time for stopping can't be waited for: then the process is ended here. What exists
        when it begins is left out of garbage collections meanwhile (``gc.freeze``), which shortens their pauses; what
        still exists when the interpreter ends is left to the system, which is quicker: close what has to be closed.
        """
        self._runs_process = True
        return run_manager(self, loop_factory, self._exit_process)

    # State.

    def status(self) -> ManagerStatus:
        """Return what the manager is doing; call it on its loop."""
        return ManagerStatus(
            phase=self._life.phase,
            leads=self._life.leads,
            waiting_for=self._prerequisites.missing(),
            runnables=self._life.names(),
            election=None if self._election is None else self._election.status(),
            cache=self.cache.status(),
            metrics_port=self._metrics.port,
            health_probe_port=self._probes.server.port,
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
            self._connections.make,
            supervisor=self._supervisor,
            guard=self._guard,
            clock=self.clock,
            random=self.random,
            on_transition=self._on_transition,
            while_waiting=self._connections.keep_ready,
        )

    def _make_services(self) -> list[Service]:
        if self._connections.in_process:
            return [self._supervisor, self._prerequisites.permissions]
        return [
            self._supervisor,
            self._guard,
            self._prerequisites.permissions,
            self._probes.server,
            *self._metrics.services(),
        ]

    def _add_built_in_checks(self) -> None:
        self._probes.add_built_in(
            phase=lambda: self._life.phase,
            waiting_for=self._prerequisites.missing,
            informers=self.cache.check_ready,
            permissions=self._prerequisites.permissions.check,
        )
        if self._election is not None:
            self._probes.add_leadership(
                self._election.leadership, leads=lambda: self._life.leads, elapsed=self.clock.elapsed
            )

    def _on_transition(self, transition: Transition) -> None:
        announce(transition, self.logger, self._election_recorder)
        if transition.kind in {"acquired", "lost"}:
            # A server that did not answer renewals takes no events either: the end of this process must not wait for it.
            for recorder in self._recorders.values():
                recorder.hopeless = transition.silent
