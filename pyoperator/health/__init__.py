"""Is this process alive, and may it get traffic: checks, and the probe endpoints that run them.

Checks run on the work loop, because what matters is whether *work* can go on; the server that answers probes lives on
another thread, so that a stalled work loop gets a clear 500 instead of a time-out.
"""

from pyoperator.health._application import probe_application
from pyoperator.health._built_in import leadership_check, ping
from pyoperator.health._checks import Check, CheckFailed, CheckResult, HealthChecks

__all__ = [
    "Check",
    "CheckFailed",
    "CheckResult",
    "HealthChecks",
    "leadership_check",
    "ping",
    "probe_application",
]
