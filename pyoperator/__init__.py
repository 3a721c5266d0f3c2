"""Highly available Kubernetes operators in Python.

The names that an operator's ``main.py`` needs, each imported from its room when it is first asked for; everything else
is behind the doors of the rooms (``pyoperator.client``, ``pyoperator.cache``, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator._version import __version__

if TYPE_CHECKING:
    from pyoperator.cache import (
        Cache,
        CachedClient,
        CacheOptions,
        Informer,
    )
    from pyoperator.client import (
        AlreadyExists,
        ApiError,
        Client,
        Configuration,
        ConfigurationError,
        Conflict,
        Invalid,
        LeadershipLost,
        MergePatch,
        NotFound,
        TransportError,
        ignore_not_found,
    )
    from pyoperator.controller import (
        ControllerOptions,
        EnqueueForObject,
        EnqueueForOwner,
        EnqueueMapped,
        Reconciler,
        Request,
        Result,
        TerminalError,
        controller_for,
        predicates,
    )
    from pyoperator.events import (
        EventRecorder,
    )
    from pyoperator.health import (
        ping,
    )
    from pyoperator.leaderelection import (
        ElectionConfig,
        LeaderElector,
        Leadership,
    )
    from pyoperator.manager import (
        CacheConfiguration,
        Manager,
        ManagerError,
        Runnable,
        configure_logging,
        run,
    )
    from pyoperator.objects import (
        Condition,
        CustomResource,
        GroupVersionKind,
        Model,
        ObjectKey,
        ObjectMeta,
        Scheme,
        Unstructured,
        add_finalizer,
        is_condition_true,
        remove_finalizer,
        set_condition,
        set_controller_reference,
    )

__all__ = [
    "AlreadyExists",
    "ApiError",
    "Cache",
    "CacheConfiguration",
    "CacheOptions",
    "CachedClient",
    "Client",
    "Condition",
    "Configuration",
    "ConfigurationError",
    "Conflict",
    "ControllerOptions",
    "CustomResource",
    "ElectionConfig",
    "EnqueueForObject",
    "EnqueueForOwner",
    "EnqueueMapped",
    "EventRecorder",
    "GroupVersionKind",
    "Informer",
    "Invalid",
    "LeaderElector",
    "Leadership",
    "LeadershipLost",
    "Manager",
    "ManagerError",
    "MergePatch",
    "Model",
    "NotFound",
    "ObjectKey",
    "ObjectMeta",
    "Reconciler",
    "Request",
    "Result",
    "Runnable",
    "Scheme",
    "TerminalError",
    "TransportError",
    "Unstructured",
    "__version__",
    "add_finalizer",
    "configure_logging",
    "controller_for",
    "ignore_not_found",
    "is_condition_true",
    "ping",
    "predicates",
    "remove_finalizer",
    "run",
    "set_condition",
    "set_controller_reference",
]

# Where each name lives (PEP 562): importing the package must stay cheap for those who need one room of it.
_ROOMS = {
    "Cache": "cache",
    "CacheOptions": "cache",
    "CachedClient": "cache",
    "Informer": "cache",
    "AlreadyExists": "client",
    "ApiError": "client",
    "Client": "client",
    "Configuration": "client",
    "ConfigurationError": "client",
    "Conflict": "client",
    "Invalid": "client",
    "LeadershipLost": "client",
    "MergePatch": "client",
    "NotFound": "client",
    "TransportError": "client",
    "ignore_not_found": "client",
    "ControllerOptions": "controller",
    "EnqueueForObject": "controller",
    "EnqueueForOwner": "controller",
    "EnqueueMapped": "controller",
    "Reconciler": "controller",
    "Request": "controller",
    "Result": "controller",
    "TerminalError": "controller",
    "controller_for": "controller",
    "predicates": "controller",
    "EventRecorder": "events",
    "ping": "health",
    "ElectionConfig": "leaderelection",
    "LeaderElector": "leaderelection",
    "Leadership": "leaderelection",
    "CacheConfiguration": "manager",
    "Manager": "manager",
    "ManagerError": "manager",
    "Runnable": "manager",
    "configure_logging": "manager",
    "run": "manager",
    "Condition": "objects",
    "CustomResource": "objects",
    "GroupVersionKind": "objects",
    "Model": "objects",
    "ObjectKey": "objects",
    "ObjectMeta": "objects",
    "is_condition_true": "objects",
    "Scheme": "objects",
    "Unstructured": "objects",
    "add_finalizer": "objects",
    "remove_finalizer": "objects",
    "set_condition": "objects",
    "set_controller_reference": "objects",
}


def __getattr__(name: str) -> object:
    room = _ROOMS.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found: object = getattr(importlib.import_module(f"pyoperator.{room}"), name)
    globals()[name] = found  # the next access is a plain one
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
