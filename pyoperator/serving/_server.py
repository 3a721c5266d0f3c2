"""One listening socket, one aiohttp application."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl as ssl_module

    from aiohttp import web

    from pyoperator.serving._bind_address import BindAddress


class BindError(OSError):
    """The address can't be listened on; the message is one line with a remedy."""


class HTTPServer:
    """Serve ``application`` on ``bind``: ``start()``, ``port``, ``stop()``; nothing happens if the bind is disabled.

    ``name`` says in errors what is being served, ``option`` which option chooses the address. ``shutdown_timeout``:
    seconds that requests in flight get on ``stop()``. Must be started and stopped on one and the same loop.
    """

    def __init__(
        self,
        bind: BindAddress,
        application: web.Application,
        ssl: ssl_module.SSLContext | None = None,
        *,
        name: str = "the HTTP server",
        option: str = "",
        shutdown_timeout: float = 2.0,
    ) -> None:
        self.bind = bind
        self.name = name
        self._application = application
        self._ssl = ssl
        self._option = option
        self._shutdown_timeout = shutdown_timeout
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port listened on (the chosen one for port 0); 0 while not serving."""
        return self._port

    @property
    def serving(self) -> bool:
        return self._runner is not None

    async def start(self) -> None:
        """Listen and serve; returns once connections are accepted. Raises BindError."""
        if self._runner is not None:
            raise RuntimeError(f"{self.name} is already serving on port {self._port}")
        if self.bind.disabled:
            return
        from aiohttp import web

        listener = await self._listen()
        runner = web.AppRunner(
            self._application, handle_signals=False, access_log=None, shutdown_timeout=self._shutdown_timeout
        )
        try:
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=self._ssl).start()
        except BaseException:
            listener.close()
            await runner.cleanup()
            raise
        self._port = listener.getsockname()[1]
        self._runner = runner

    async def stop(self) -> None:
        """Stop accepting, let requests in flight finish within the shutdown timeout, close. Idempotent."""
        runner, self._runner, self._port = self._runner, None, 0
        if runner is not None:
            await runner.cleanup()

    async def _listen(self) -> socket.socket:
        host, port = self.bind.host, self.bind.port
        try:
            if not host:
                # One socket for both families: with two, port 0 would give each family another port.
                dual = socket.has_dualstack_ipv6()
                family = socket.AF_INET6 if dual else socket.AF_INET
                return socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=128)
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, _, _, _, address = found[0]
            return socket.create_server(address, family=family, backlog=128)
        except (OSError, UnicodeError) as error:
            raise BindError(self._explain(error)) from error

    def _explain(self, error: OSError | UnicodeError) -> str:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EADDRINUSE:
            reason, remedy = "another process listens there", "stop it, or choose another port"
        elif number == errno.EACCES:
            reason, remedy = "permission denied", "choose a port from 1024 up"
        elif number == errno.EADDRNOTAVAIL:
            reason, remedy = "no interface of this machine has that address", "choose one it has, or leave the host out"
        elif isinstance(error, (socket.gaierror, UnicodeError)):
            reason, remedy = f"the host name {self.bind.host!r} can't be resolved", "use an IP address"
        else:
            reason, remedy = str(error), "choose another address"
        where = f" with {self._option}" if self._option else ""
        return f"cannot serve {self.name} on {self.bind}: {reason}; {remedy}{where} ('0' switches it off)"

    def __repr__(self) -> str:
        state = f"serving on port {self._port}" if self.serving else "disabled" if self.bind.disabled else "not serving"
        return f"<HTTPServer {self.name} {self.bind} {state}>"
