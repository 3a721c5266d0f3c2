"""The probe endpoints of a manager: what is checked without being asked for, and the server that answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pyoperator.health import HealthChecks, leadership_check, probe_application
from pyoperator.manager._errors import ManagerError
from pyoperator.manager._life_cycle import Phase
from pyoperator.manager._services import SupervisedServer
from pyoperator.serving import HTTPServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.health import Check
    from pyoperator.leaderelection import Leadership
    from pyoperator.manager._supervisor import Supervisor
    from pyoperator.serving import BindAddress


class Probes:
    """Liveness and readiness: both sets of checks, and their server, which lives on the supervisor's loop.

    ``place`` tells where the work loop's thread stands, for the reason of a stall. Checks themselves run on the work
    loop, so there a stall is a failure too.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        bind: BindAddress,
        *,
        liveness_path: str,
        readiness_path: str,
        place: Callable[[], str],
    ) -> None:
        self.healthz = HealthChecks()
        self.readyz = HealthChecks()
        self._bind = bind
        self._paths = (liveness_path, readiness_path)
        self._place = place
        self.server = SupervisedServer(supervisor, self._make_server)

    def add_built_in(
        self,
        *,
        phase: Callable[[], Phase],
        waiting_for: Callable[[], tuple[str, ...]],
        informers: Check,
        permissions: Check,
    ) -> None:
        """Add what every manager checks."""

        def startup() -> None:
            if phase() in {Phase.NEW, Phase.STARTING, Phase.SYNCING}:
                raise ManagerError("; ".join(waiting_for()) or "starting")

        def shutdown() -> None:
            if phase() in {Phase.DRAINING, Phase.STOPPING, Phase.STOPPED}:
                raise ManagerError("shutting down")

        self.readyz.add("startup", startup)
        self.readyz.add("informers", informers)
        self.readyz.add("permissions", permissions)
        self.readyz.add("shutdown", shutdown)

    def add_leadership(
        self, leadership: Leadership, *, leads: Callable[[], bool], elapsed: Callable[[], float]
    ) -> None:
        """Add the liveness check of an elected manager; readiness never depends on leading."""
        check = leadership_check(leads=leads, valid_until=lambda: leadership.valid_until, elapsed=elapsed)
        self.healthz.add("leadership", check)

    async def aclose(self) -> None:
        """End checks that still run."""
        await self.healthz.aclose()
        await self.readyz.aclose()

    def _make_server(self) -> HTTPServer:
        liveness, readiness = self._paths
        application = probe_application(
            healthz=self.healthz,
            readyz=self.readyz,
            work_loop=asyncio.get_running_loop(),
            liveness_path=liveness,
            readiness_path=readiness,
            where=self._place,
        )
        return HTTPServer(self._bind, application, name="health probes", option="health_probe_bind_address=...")

    def __repr__(self) -> str:
        return f"<Probes healthz={self.healthz.names} readyz={self.readyz.names}>"
