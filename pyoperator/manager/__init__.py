"""Everything's life: what runs, in which order it starts and stops, and with which exit code it ends.

:class:`Manager` makes the parts (clients, cache, election, servers) and runs what is added to it; it knows runnables,
never controllers.
"""

from pyoperator.manager._errors import ManagerError, StopTimedOut
from pyoperator.manager._life_cycle import LifeCycle, Phase
from pyoperator.manager._logging import configure_logging
from pyoperator.manager._manager import Manager
from pyoperator.manager._options import CacheConfiguration, ManagerOptions
from pyoperator.manager._runnable import FunctionRunnable, GroupName, Runnable
from pyoperator.manager._running import run
from pyoperator.manager._status import ManagerStatus
from pyoperator.manager._supervisor import Supervisor

__all__ = [
    "CacheConfiguration",
    "FunctionRunnable",
    "GroupName",
    "LifeCycle",
    "Manager",
    "ManagerError",
    "ManagerOptions",
    "ManagerStatus",
    "Phase",
    "Runnable",
    "StopTimedOut",
    "Supervisor",
    "configure_logging",
    "run",
]
