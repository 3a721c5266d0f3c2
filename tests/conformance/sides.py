"""The two servers that answer scenarios: the embedded one in this process, and a real one over HTTPS."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from pyoperator.apiserver import APIRequest, APIServer, Credential, ServerOptions, User
from pyoperator.clock import Randomness, virtual_loop_factory
from tests.conformance.scenario import Answer, Request

if TYPE_CHECKING:
    from pathlib import Path

    from pyoperator.apiserver import APIResponse

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
        asked = APIRequest(
            request.method,
            unquote(path),
            parse_qsl(query, keep_blank_values=True),
            request.headers,
            request.body,
            Credential(bearer_token=authorization.removeprefix("Bearer ")) if authorization else Credential(),
        )
        if request.method == "GET":
            with asyncio.Runner(loop_factory=virtual_loop_factory) as runner:
                return runner.run(self._read(asked))
        return _answer(self.server.handle(asked))

    async def _read(self, asked: APIRequest) -> Answer:
        response = await self.server.serve(asked)
        if response.watch is not None:
            response.body = b"".join([piece async for piece in response.watch.lines()])
        return _answer(response)

    def compact(self) -> None:
        self.server.store.compact()

    def pause(self) -> bool:
        return False


def _answer(response: APIResponse) -> Answer:
    return Answer(response.status, response.headers.get("content-type", ""), response.warnings, response.body)


class RealSide:
    """The server of a kubeconfig with a bearer token; ``etcd`` is the address of its store, "host:port", plain HTTP."""

    def __init__(self, kubeconfig: Path, etcd: str = "") -> None:
        self._etcd = etcd
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

    def compact(self) -> None:
        """Compact etcd at its present revision, through its gRPC gateway."""
        if not self._etcd:
            raise ValueError("this scenario compacts the store: give the address of etcd, as host:port")
        found = self._etcd_call("range", {"key": base64.b64encode(b"none").decode()})
        self._etcd_call("compaction", {"revision": found["header"]["revision"], "physical": True})

    def _etcd_call(self, name: str, body: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection(self._etcd, timeout=30)
        try:
            connection.request("POST", f"/v3/kv/{name}", json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
            if response.status != http.client.OK:
                raise RuntimeError(f"etcd's {name} answered {response.status}: {answer}")
            return answer
        finally:
            connection.close()

    def pause(self) -> bool:
        time.sleep(_PAUSE)  # a real server establishes definitions in its own time
        self._waited += _PAUSE
        return self._waited < _PATIENCE
