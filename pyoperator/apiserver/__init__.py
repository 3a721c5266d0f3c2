"""The embedded API server: Kubernetes' API over an in-memory (or durable) store, for first runs, tests and faults.

:class:`APIServer` is the core: synchronous, without I/O. :class:`EmbeddedServer` serves it over HTTPS; in-process use
goes through ``pyoperator.testing``. Not a production control plane: production is Kubernetes, on etcd.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pyoperator.apiserver._options import ServerOptions
from pyoperator.apiserver._request import APIRequest, APIResponse
from pyoperator.apiserver._server import APIServer
from pyoperator.apiserver._status import StatusError
from pyoperator.apiserver._system import StoreEvent, SystemClient
from pyoperator.apiserver.access import AuditLog, Credential, User
from pyoperator.apiserver.storage import WatchSubscription

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers import Controllers
    from pyoperator.apiserver.http import EmbeddedServer, EmbeddedServerError, KubeconfigError

__all__ = [
    "APIRequest",
    "APIResponse",
    "APIServer",
    "AuditLog",
    "Controllers",
    "Credential",
    "EmbeddedServer",
    "EmbeddedServerError",
    "KubeconfigError",
    "ServerOptions",
    "StatusError",
    "StoreEvent",
    "SystemClient",
    "User",
    "WatchSubscription",
]

# Imported when asked for: the face brings aiohttp's server side, which in-process use never needs.
_LAZY = {
    "Controllers": "pyoperator.apiserver.controllers",
    "EmbeddedServer": "pyoperator.apiserver.http",
    "EmbeddedServerError": "pyoperator.apiserver.http",
    "KubeconfigError": "pyoperator.apiserver.http",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
