"""The metrics endpoint of a manager: the registry, its certificate, and what else is served beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator._callables import takes
from pyoperator.manager._errors import ManagerError
from pyoperator.manager._services import BackgroundTask, DeferredServer
from pyoperator.metrics import EventLoopMonitor, MetricsRegistry, metrics_application
from pyoperator.serving import CertificateWatcher, HTTPServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyoperator.manager._service_stack import Service
    from pyoperator.serving import BindAddress


class MetricsEndpoint:
    """Serve ``registry``, and handlers added before the start, on ``bind``; with a certificate, over HTTPS."""

    def __init__(self, bind: BindAddress, certificate: tuple[str, str] | None) -> None:
        self.registry = MetricsRegistry()
        self.event_loop = EventLoopMonitor()
        self.certificates = None if certificate is None else CertificateWatcher(*certificate)
        self._bind = bind
        self._handlers: dict[str, Any] = {}
        self._server: HTTPServer | None = None

    @property
    def port(self) -> int:
        """The port listened on; 0 while not serving."""
        return 0 if self._server is None else self._server.port

    def add_handler(self, path: str, handler: Callable[..., Awaitable[Any]]) -> None:
        """Serve ``handler`` at ``path``, too. Raises ManagerError for a path that can't be used."""
        if not path.startswith("/") or path == "/metrics" or path in self._handlers:
            raise ManagerError(f"path {path!r} can't be used: it must begin with '/', be new, and not be /metrics")
        given: Any = handler
        if not callable(given) or not takes(handler, 1):
            raise ManagerError(
                f"the handler of {path} can't be used: give an `async def` function of one argument, the request"
            )
        self._handlers[path] = handler

    def services(self) -> list[Service]:
        """Return what must run for it, in order."""
        found: list[Service] = [BackgroundTask("event loop monitor", self.event_loop.run)]
        if self.certificates is not None:
            found.append(BackgroundTask("certificate watcher", self.certificates.run))
        if not self._bind.disabled:
            found.append(DeferredServer(self._make_server))
        return found

    def _make_server(self) -> HTTPServer:
        application = metrics_application(self.registry, extra_handlers=self._handlers)
        context = None if self.certificates is None else self.certificates.context
        self._server = HTTPServer(self._bind, application, context, name="metrics", option="metrics_bind_address=...")
        return self._server

    def __repr__(self) -> str:
        return f"<MetricsEndpoint {self._bind} port={self.port}>"
