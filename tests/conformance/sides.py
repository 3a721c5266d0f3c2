"""The two servers that answer scenarios: the embedded one in this process, and a real one over HTTPS."""

from __future__ import annotations

import asyncio
import base64
import http.client
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from pyoperator.apiserver import APIRequest, APIServer, Credential, ServerOptions, User
from pyoperator.clock import Randomness, virtual_loop_factory
from tests.conformance.scenario import Answer, Request

if TYPE_CHECKING:
    from pathlib import Path

    from pyoperator.apiserver import WatchSubscription

_PAUSE = 0.1
_PATIENCE = 30.0  # per scenario, each of which has a side of its own
_ADMIN = User("admin", uid="admin", groups=("system:masters",))


class EmbeddedSide:
    """A fresh server core; watches run on virtual time."""

    def __init__(self) -> None:
        self.server = APIServer(random=Randomness(1), options=ServerOptions(tokens={"admin": _ADMIN}))

    def ask(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        authorization = request.headers.get("authorization", "Bearer admin")
        response = self.server.handle(
            APIRequest(
                request.method,
                unquote(path),
                parse_qsl(query, keep_blank_values=True),
                request.headers,
                request.body,
                Credential(bearer_token=authorization.removeprefix("Bearer ")) if authorization else Credential(),
            )
        )
        body = response.body
        if response.watch is not None:
            with asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
                body = runner.run(_collected(response.watch))
        return Answer(response.status, response.headers.get("content-type", ""), response.warnings, body)

    def pause(self) -> bool:
        return False


async def _collected(watch: WatchSubscription) -> bytes:
    return b"".join([piece async for piece in watch.lines()])


class RealSide:
    """The server of a kubeconfig with a bearer token."""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        certificate = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._context = ssl.create_default_context(cadata=certificate)
        self._address = urlsplit(cluster["server"]).netloc
        self._token = user["token"]
        self._waited = 0.0

    def ask(self, request: Request) -> Answer:
        connection = http.client.HTTPSConnection(self._address, context=self._context, timeout=30)
        try:
            headers = {"authorization": f"Bearer {self._token}", **request.headers}
            if not headers["authorization"]:
                del headers["authorization"]
            connection.request(request.method, request.target, request.body or None, headers)
            response = connection.getresponse()
            warnings = tuple(
                text.partition('"')[2].removesuffix('"').replace('\\"', '"')
                for text in response.headers.get_all("warning") or ()
            )
            return Answer(response.status, response.headers.get("content-type", ""), warnings, response.read())
        except http.client.RemoteDisconnected:
            # It panics on a few bad requests; a status that no server sends stands for that.
            return Answer(599, "text/plain", (), b"the server closed the connection without an answer")
        finally:
            connection.close()

    def pause(self) -> bool:
        time.sleep(_PAUSE)  # a real server establishes definitions in its own time
        self._waited += _PAUSE
        return self._waited < _PATIENCE
