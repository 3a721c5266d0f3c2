"""The rules of the built-in kinds, by group and kind; a kind without an entry is stored as it is."""

from pyoperator.apiserver.registry.kinds._events import EVENTS
from pyoperator.apiserver.registry.kinds._plain import PLAIN
from pyoperator.apiserver.registry.kinds._pods import PODS, quality_of_service
from pyoperator.apiserver.registry.kinds._policies import POLICIES
from pyoperator.apiserver.registry.kinds._rules import Rules
from pyoperator.apiserver.registry.kinds._services import SERVICE_RANGE, SERVICES
from pyoperator.apiserver.registry.kinds._volumes import VOLUMES
from pyoperator.apiserver.registry.kinds._workloads import WORKLOADS

RULES: dict[tuple[str, str], Rules] = {
    ("", "Pod"): PODS,
    **PLAIN,
    **EVENTS,
    **SERVICES,
    **VOLUMES,
    **WORKLOADS,
    **POLICIES,
}

__all__ = ["RULES", "SERVICE_RANGE", "Rules", "quality_of_service"]
