"""What keeps a cluster in order, and (opt-in) makes workloads look alive.

Always: garbage collection, deletion of namespaces, aggregation of cluster roles. With the simulator, pods are
made, scheduled and become ready, so that an operator sees its StatefulSets come up without a single container.

Event driven, one task, deterministic: under the virtual loop two runs of one seed write the same objects in the same
order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.controllers._budgets import BudgetController
from pyoperator.apiserver.controllers._client import ControllerClient, StoreEvent
from pyoperator.apiserver.controllers._deployments import DeploymentController
from pyoperator.apiserver.controllers._endpoints import EndpointsController
from pyoperator.apiserver.controllers._engine import Context, Controller, ControllersStatistics, Engine
from pyoperator.apiserver.controllers._garbage_collector import GarbageCollector
from pyoperator.apiserver.controllers._jobs import JobController
from pyoperator.apiserver.controllers._kinds import SIMULATED
from pyoperator.apiserver.controllers._namespaces import (
    NamespaceController,
    RoleAggregationController,
)
from pyoperator.apiserver.controllers._nodes import EXTERNAL_ANNOTATION
from pyoperator.apiserver.controllers._pods import EXIT_CODE_ANNOTATION, READY_ANNOTATION, PodController
from pyoperator.apiserver.controllers._protection import ProtectionController
from pyoperator.apiserver.controllers._replica_sets import DaemonSetController, ReplicaSetController
from pyoperator.apiserver.controllers._stateful_sets import StatefulSetController
from pyoperator.apiserver.controllers._view import ObjectView
from pyoperator.apiserver.controllers._volumes import VolumeController
from pyoperator.apiserver.controllers._workloads import SimulationOptions
from pyoperator.clock import Randomness, SystemClock

if TYPE_CHECKING:
    from pyoperator.clock import Clock

__all__ = [
    "EXIT_CODE_ANNOTATION",
    "EXTERNAL_ANNOTATION",
    "READY_ANNOTATION",
    "ControllerClient",
    "Controllers",
    "ControllersStatistics",
    "SimulationOptions",
    "StoreEvent",
]


class Controllers:
    """All controllers of one server, as one thing to run: ``Controllers(server.system, server.clock, server.random)``.

    ``client`` is the server's SystemClient. Garbage collection, namespaces, role
    aggregation and the protection of volumes in use always run (deleted definitions are finished by the core itself);
    ``simulate_workloads`` adds nodes, a default storage class and everything that makes pods come and go.
    """

    def __init__(
        self,
        client: ControllerClient,
        clock: Clock | None = None,
        random: Randomness | None = None,
        *,
        simulate_workloads: bool = False,
        options: SimulationOptions | None = None,
    ) -> None:
        options = options or SimulationOptions()
        view = ObjectView(SIMULATED if simulate_workloads else ())
        context = Context(client, view, clock or SystemClock(), random or Randomness())
        controllers: list[Controller] = [
            GarbageCollector(context),
            NamespaceController(context),
            RoleAggregationController(context),
            ProtectionController(context),
        ]
        if simulate_workloads:
            controllers += [
                PodController(context, options),
                VolumeController(context, options),
                StatefulSetController(context),
                ReplicaSetController(context),
                DeploymentController(context),
                DaemonSetController(context),
                JobController(context),
                EndpointsController(context),
                BudgetController(context),
            ]
        self._engine = Engine(context, controllers)

    async def run(self) -> None:
        """Run until cancelled; what exists already is looked at first."""
        await self._engine.run()

    def statistics(self) -> ControllersStatistics:
        return self._engine.statistics()

    def __repr__(self) -> str:
        return f"Controllers({self.statistics()})"
