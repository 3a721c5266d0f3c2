"""What tests of an operator need: the embedded server without sockets, faults, virtual time.

Importing is lazy, name by name: the lab lives in this room too, and starts without the API server's code.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_MODULES = {
    "LOCAL_NETWORK": "_simulation",
    "Exchange": "_recording_server",
    "Faults": "_faults",
    "FaultyTransport": "_faults",
    "InProcessTransport": "_in_process",
    "Replica": "_simulation",
    "SimulatedProcess": "_simulated_process",
    "SimulatedTransport": "_simulated_process",
    "Simulation": "_simulation",
    "SimulationError": "_simulated_process",
    "run_simulation": "_simulation",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found: object = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = found  # the next access is a plain one
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
