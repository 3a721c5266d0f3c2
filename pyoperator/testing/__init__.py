"""What tests of an operator need: the embedded server without sockets, faults, virtual time."""

from pyoperator.testing._faults import Faults, FaultyTransport
from pyoperator.testing._in_process import InProcessTransport
from pyoperator.testing._recording_server import Exchange
from pyoperator.testing._simulated_process import SimulatedProcess, SimulatedTransport, SimulationError
from pyoperator.testing._simulation import LOCAL_NETWORK, Replica, Simulation, run_simulation

__all__ = [
    "LOCAL_NETWORK",
    "Exchange",
    "Faults",
    "FaultyTransport",
    "InProcessTransport",
    "Replica",
    "SimulatedProcess",
    "SimulatedTransport",
    "Simulation",
    "SimulationError",
    "run_simulation",
]
