"""One leader at a time, by a Lease that client-go's candidates may compete for too.

The rules live in :class:`Elector`, which does no I/O. A host drives it: :class:`ThreadHost` on a thread of its own,
:class:`LoopHost` on the caller's loop. :class:`Leadership` is the fence that every write of a leader passes.
:class:`LeaderElector` is all of it for programs without a manager.
"""

from pyoperator.leaderelection._actions import (
    Action,
    CancelRequest,
    CloseWatch,
    ElectionStatus,
    OpenWatch,
    Phase,
    Report,
    SendRequest,
    Transition,
)
from pyoperator.leaderelection._announce import Recorder, announce
from pyoperator.leaderelection._config import (
    ElectionConfig,
    ElectionConfigError,
    default_identity,
    default_namespace,
)
from pyoperator.leaderelection._driver import ElectionDriver
from pyoperator.leaderelection._elector import Elector
from pyoperator.leaderelection._hosts import ElectionHost, LoopHost, ThreadHost
from pyoperator.leaderelection._leader_elector import LeaderElector
from pyoperator.leaderelection._leadership import Leadership, LeadershipStatistics
from pyoperator.leaderelection._record import LeaseDecodeError, LeaseRecord, Terms
from pyoperator.leaderelection._supervisor import Supervisor, SupervisorThread

__all__ = [
    "Action",
    "CancelRequest",
    "CloseWatch",
    "ElectionConfig",
    "ElectionConfigError",
    "ElectionDriver",
    "ElectionHost",
    "ElectionStatus",
    "Elector",
    "LeaderElector",
    "Leadership",
    "LeadershipStatistics",
    "LeaseDecodeError",
    "LeaseRecord",
    "LoopHost",
    "OpenWatch",
    "Phase",
    "Recorder",
    "Report",
    "SendRequest",
    "Supervisor",
    "SupervisorThread",
    "Terms",
    "ThreadHost",
    "Transition",
    "announce",
    "default_identity",
    "default_namespace",
]
