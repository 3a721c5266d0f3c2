"""One leader at a time, by a Lease that client-go's candidates may compete for too.

The rules live in :class:`Elector`, which does no I/O. A host drives it: :class:`ThreadHost` on a thread of its own,
:class:`LoopHost` on the caller's loop. :class:`Leadership` is the fence that every write of a leader passes, and
:class:`StallGuard` ends a process whose work stands still beyond its lease. :class:`LeaderElector` is all of it for
programs without a manager.
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
from pyoperator.leaderelection._dead_mans_switch import PROCESS_SWITCH, DeadMansSwitch, SwitchOwner
from pyoperator.leaderelection._driver import ElectionDriver
from pyoperator.leaderelection._elector import Elector
from pyoperator.leaderelection._heartbeat import Heartbeat
from pyoperator.leaderelection._hosts import ElectionHost, LoopHost, ThreadHost
from pyoperator.leaderelection._leader_elector import LeaderElector
from pyoperator.leaderelection._leadership import Leadership, LeadershipStatistics
from pyoperator.leaderelection._record import LeaseDecodeError, LeaseRecord, Terms
from pyoperator.leaderelection._stall_guard import StallGuard, stall_limit_of
from pyoperator.leaderelection._supervisor import Supervisor, SupervisorThread

__all__ = [
    "PROCESS_SWITCH",
    "Action",
    "CancelRequest",
    "CloseWatch",
    "DeadMansSwitch",
    "ElectionConfig",
    "ElectionConfigError",
    "ElectionDriver",
    "ElectionHost",
    "ElectionStatus",
    "Elector",
    "Heartbeat",
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
    "StallGuard",
    "Supervisor",
    "SupervisorThread",
    "SwitchOwner",
    "Terms",
    "ThreadHost",
    "Transition",
    "announce",
    "default_identity",
    "default_namespace",
    "stall_limit_of",
]
