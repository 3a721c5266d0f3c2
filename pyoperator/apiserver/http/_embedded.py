"""A whole embedded server: core, controllers, sockets, certificates, kubeconfig; started and stopped as one."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from pyoperator.apiserver._options import ServerOptions
from pyoperator.apiserver._server import APIServer
from pyoperator.apiserver.access import ANONYMOUS, MASTERS, AuditLog, TokenFileError, User
from pyoperator.apiserver.controllers import Controllers
from pyoperator.apiserver.http._certificates import CertificateAuthority
from pyoperator.apiserver.http._face import HTTPFace
from pyoperator.apiserver.http._kubeconfig import KubeconfigError, check_kubeconfig, write_kubeconfig
from pyoperator.apiserver.http._private_files import make_private_folder, write_private
from pyoperator.apiserver.storage import DirectoryInUse, DirectoryUnusable, SQLitePersistence
from pyoperator.clock import Randomness, SystemClock
from pyoperator.serving import BindAddress, BindAddressError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType
    from typing import Self

    from pyoperator.clock import Clock

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_ADMIN = User("admin", groups=(MASTERS,))
_INSECURE_ADMIN = User("system:anonymous", groups=(MASTERS, "system:unauthenticated"))
# Requests in flight are answered within milliseconds and watches are ended first: what is left hangs on its client.
_SHUTDOWN_TIMEOUT = 1.0


class EmbeddedServerError(RuntimeError):
    """The server can't start; the message is one line that says why and what to do."""


class EmbeddedServer:
    """Serve the embedded API server over HTTPS, as an async context manager.

    ``async with EmbeddedServer() as s:`` then ``s.url``, ``s.kubeconfig`` (a file for kubectl and clients), ``s.server``
    (the core). ``bind``: where to listen, port 0 picks a free one. ``data_dir``: keep everything there, or in memory
    when None. ``kubeconfig_out``: write the kubeconfig there (only over one of ours). ``token_file``: users as kube's
    static CSV. ``simulate_workloads``: let pods run on paper. ``insecure``: plain HTTP on loopback, everybody is admin.
    ``names``: further host names for the certificate. ``middleware(handler)`` returns the handler to be used instead,
    for tests that want a server which fails: what it answers itself reaches neither the core nor the audit log. Raises
    EmbeddedServerError on entering.
    """

    def __init__(
        self,
        bind: BindAddress | str = "127.0.0.1:0",
        *,
        data_dir: Path | None = None,
        fsync: bool = False,
        kubeconfig_out: Path | None = None,
        audit_log: Path | None = None,
        token_file: Path | None = None,
        simulate_workloads: bool = False,
        insecure: bool = False,
        names: Sequence[str] = (),
        middleware: Callable[[Handler], Handler] | None = None,
        clock: Clock | None = None,
        random: Randomness | None = None,
    ) -> None:
        self._bind = bind
        self._data_dir = data_dir
        self._fsync = fsync
        self._kubeconfig_out = kubeconfig_out
        self._audit_log = audit_log
        self._token_file = token_file
        self._simulate = simulate_workloads
        self._insecure = insecure
        self._names = tuple(names)
        self._middleware = middleware
        self._clock: Clock = clock or SystemClock()
        self._random = random
        self._server: APIServer | None = None
        self._runner: web.ServerRunner | None = None
        self._controllers: asyncio.Task[None] | None = None
        self._temporary: Path | None = None
        self._state: Path | None = None
        self._authority: CertificateAuthority | None = None
        self._kubeconfig: Path | None = None
        self._url = ""
        self._token = ""

    @property
    def server(self) -> APIServer:
        """The core."""
        if self._server is None:
            raise RuntimeError("the embedded server is not running: enter it with 'async with' first")
        return self._server

    @property
    def url(self) -> str:
        return self._url

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, mode 0600."""
        if self._kubeconfig is None:
            raise RuntimeError("the embedded server is not running: enter it with 'async with' first")
        return self._kubeconfig

    @property
    def authority(self) -> CertificateAuthority | None:
        """The server's CA; None for an insecure server."""
        return self._authority

    def write_kubeconfig(self, path: Path, *, token: str, user: str) -> None:
        """Write a kubeconfig for another user, whose token the token file holds."""
        certificate = self._authority.certificate_file.read_bytes() if self._authority is not None else b""
        write_kubeconfig(path, server=self._url, token=token, authority=certificate, user=user)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        bind = self._checked_bind()
        try:
            # Looked at first: nothing has been made yet that would have to be undone.
            if self._kubeconfig_out is not None:
                check_kubeconfig(self._kubeconfig_out)
            self._state = self._make_state()
            self._server = self._make_core(self._state)
            listener = _listen(bind)
            port: int = listener.getsockname()[1]
            try:
                context = self._make_context(bind, self._state)
                await self._serve(self._server, listener, context)
            except BaseException:
                listener.close()
                raise
            host = f"[{bind.host}]" if ":" in bind.host else bind.host
            if bind.host in {"", "0.0.0.0", "::"}:  # noqa: S104  # compared with, not bound to
                host = "127.0.0.1"
            self._url = f"{'http' if self._insecure else 'https'}://{host}:{port}"
            self._kubeconfig = self._kubeconfig_out or self._state / "kubeconfig"
            self.write_kubeconfig(self._kubeconfig, token=self._token, user="admin")
        except (KubeconfigError, DirectoryInUse, DirectoryUnusable, TokenFileError) as error:
            raise EmbeddedServerError(str(error)) from error
        controllers = Controllers(
            self._server.system, self._clock, self._server.random, simulate_workloads=self._simulate
        )
        self._controllers = asyncio.create_task(controllers.run(), name="apiserver-controllers")

    def _checked_bind(self) -> BindAddress:
        try:
            bind = BindAddress.parse(self._bind)
        except BindAddressError as error:
            raise EmbeddedServerError(str(error)) from error
        if bind.disabled:
            raise EmbeddedServerError(
                "an API server has to listen: give bind (--bind-address) HOST:PORT, as in 127.0.0.1:0"
            )
        if self._insecure and not _is_loopback(bind.host):
            raise EmbeddedServerError(
                f"insecure (--insecure) serves on loopback only, not on {bind}: everybody would be administrator; bind to 127.0.0.1, "
                "or leave insecure out"
            )
        return bind

    def _make_state(self) -> Path:
        if self._data_dir is not None:
            try:
                make_private_folder(self._data_dir)
            except OSError as error:
                raise EmbeddedServerError(
                    f"the data directory {self._data_dir} can't be made ({error.strerror}); give data_dir (--data-dir) another one"
                ) from error
            return self._data_dir
        self._temporary = Path(tempfile.mkdtemp(prefix="pyoperator-apiserver-"))
        return self._temporary

    def _make_core(self, state: Path) -> APIServer:
        persistence = SQLitePersistence(state, fsync=self._fsync) if self._data_dir is not None else None
        try:
            if not self._insecure:
                self._token = _kept_secret(state / "admin-token")
            options = ServerOptions(
                tokens={self._token: _ADMIN} if self._token else {},
                token_file=self._token_file,
                audit=self._open_audit(),
                persistence=persistence,
                signing_key=_kept_secret(state / "signing-key").encode(),
                anonymous=_INSECURE_ADMIN if self._insecure else ANONYMOUS,
            )
            return APIServer(clock=self._clock, random=self._random or Randomness(), options=options)
        except BaseException:
            if persistence is not None:
                persistence.close()
            raise

    def _open_audit(self) -> AuditLog | None:
        if self._audit_log is None:
            return None
        try:
            return AuditLog(self._audit_log)
        except OSError as error:
            raise EmbeddedServerError(
                f"the audit log {self._audit_log} can't be opened ({error.strerror}); give audit_log (--audit-log) a writable file"
            ) from error

    def _make_context(self, bind: BindAddress, state: Path) -> ssl.SSLContext | None:
        if self._insecure:
            return None
        names = [*self._names]
        if bind.host and bind.host not in {"0.0.0.0", "::"}:  # noqa: S104  # compared with, not bound to
            names.append(bind.host)
        try:
            self._authority = CertificateAuthority(state / "pki", clock=self._clock, names=names)
            return self._authority.prepare()
        except ModuleNotFoundError as error:
            raise EmbeddedServerError(
                "HTTPS needs the package cryptography: pip install cryptography (the extra apiserver of "
                "pyoperator-runtime has it), or use insecure=True (--insecure)"
            ) from error
        except OSError as error:
            raise EmbeddedServerError(
                f"the certificates in {state / 'pki'} can't be written ({error.strerror or error}); make the directory writable"
            ) from error

    async def _serve(self, core: APIServer, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        handle: Handler = HTTPFace(core, loopback_only=self._insecure).handle
        if self._middleware is not None:
            handle = self._middleware(handle)
        # A client that goes away cancels its handler: an idle watch would stay for ever otherwise.
        self._runner = web.ServerRunner(
            web.Server(handle, handler_cancellation=True, access_log=None),
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listener, ssl_context=context, backlog=512).start()

    async def _stop(self) -> None:
        controllers, self._controllers = self._controllers, None
        if controllers is not None:
            controllers.cancel()
            await asyncio.gather(controllers, return_exceptions=True)
        runner, self._runner = self._runner, None
        if self._server is not None:
            self._server.end_watches()
        if runner is not None:
            await runner.cleanup()
        if self._server is not None:
            self._server.close()
        if self._temporary is not None:
            await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)
            self._temporary = None

    def __repr__(self) -> str:
        return f"EmbeddedServer({self._url or 'not running'})"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(bind: BindAddress) -> socket.socket:
    try:
        if not bind.host:
            dual = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if dual else socket.AF_INET
            return socket.create_server(("", bind.port), family=family, dualstack_ipv6=dual, backlog=512)
        family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
        return socket.create_server((bind.host, bind.port), family=family, backlog=512)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise EmbeddedServerError(
            f"cannot listen on {bind}: {reason}; choose another address with bind (--bind-address; port 0 takes a free one)"
        ) from error


def _kept_secret(path: Path) -> str:
    """Return the secret in ``path``, made at the first start: kubeconfigs and tokens outlive a restart."""
    try:
        kept = path.read_text("ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        kept = ""
    if len(kept) < 32:
        kept = secrets.token_urlsafe(32)
        write_private(path, kept.encode())
    return kept
