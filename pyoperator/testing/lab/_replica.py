"""One start of one replica: its process, its user, its ports, and what was done to it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyoperator.testing._judge import ProcessStart
from pyoperator.testing.lab._environment import clean_environment
from pyoperator.testing.lab._install import REPLICAS_GROUP
from pyoperator.testing.lab._ports import ReservedPort
from pyoperator.testing.lab._process import LabProcess
from pyoperator.testing.lab._scale import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyoperator.clock import Clock
    from pyoperator.testing.lab._folder import LabFolder
    from pyoperator.testing.lab._project import Project
    from pyoperator.testing.lab._scale import Scale


@dataclass(slots=True, eq=False)
class Replica:
    """A process start. ``name`` is its pod, its user and its POD_NAME: each holder of the Lease can be told apart.

    Times are Unix seconds, read right before the signal was sent.
    """

    name: str
    node: str
    process: LabProcess
    metrics: ReservedPort
    probes: ReservedPort
    started_at: float
    killed_at: float | None = None
    terminated_at: float | None = None
    rolling: bool = False

    def kill(self) -> None:
        """SIGKILL."""
        self.killed_at = self.process.signal(signal.SIGKILL)

    def terminate(self, *, rolling: bool = False) -> None:
        """SIGTERM; ``rolling`` if it is part of a rolling update."""
        self.rolling = rolling
        self.terminated_at = self.process.signal(signal.SIGTERM)

    def close(self) -> None:
        """Let the ports go."""
        self.metrics.close()
        self.probes.close()

    @property
    def start(self) -> ProcessStart:
        """What the judge has to know."""
        return ProcessStart(
            user=self.name,
            label=self.name,
            killed_at=self.killed_at,
            terminated_at=self.terminated_at,
            rolling=self.rolling,
        )


def replica_command(
    program: list[str], project: Project, scale: Scale, *, kubeconfig: Path, metrics: str, probes: str
) -> list[str]:
    """Return the command line of a replica: kubebuilder's flags, so that any operator with them can be used."""
    return [
        *program,
        "--leader-elect",
        f"--leader-election-id={project.lease.name}",
        f"--leader-election-namespace={project.lease.namespace}",
        f"--lease-duration={format_duration(scale.lease_duration)}",
        f"--renew-deadline={format_duration(scale.renew_deadline)}",
        f"--retry-period={format_duration(scale.retry_period)}",
        f"--metrics-bind-address={metrics}",
        f"--health-probe-bind-address={probes}",
        f"--kubeconfig={kubeconfig}",
        "--log-format=json",
    ]


async def start_replica(
    name: str,
    node: str,
    *,
    program: list[str],
    project: Project,
    scale: Scale,
    folder: LabFolder,
    environ: Mapping[str, str],
    clock: Clock,
) -> Replica:
    """Make the user and start the process; raises LabError."""
    kubeconfig = folder.add_user(name, [REPLICAS_GROUP])
    metrics, probes = ReservedPort(), ReservedPort()
    try:
        process = await LabProcess.start(
            name,
            replica_command(
                program, project, scale, kubeconfig=kubeconfig, metrics=metrics.address, probes=probes.address
            ),
            environment=clean_environment(environ, folder.home, POD_NAME=name),
            folder=folder.path,
            log=folder.log(name),
            clock=clock,
        )
    except BaseException:
        metrics.close()
        probes.close()
        raise
    return Replica(name, node, process, metrics, probes, started_at=clock.wall())
