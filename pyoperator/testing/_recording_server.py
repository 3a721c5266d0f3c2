"""An embedded server that writes down every request: what two runs of one seed are compared by."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from pyoperator.apiserver import APIServer

if TYPE_CHECKING:
    from pyoperator.apiserver import APIRequest, APIResponse


class Exchange(NamedTuple):
    """One request as the server saw it; ``body`` is a hash, values of Secrets masked (they are random on purpose)."""

    time: float
    user: str
    method: str
    path: str
    body: str
    status: int


class RecordingServer(APIServer):
    """Write down every request."""

    def __init__(self, **options: Any) -> None:
        self.exchanges: list[Exchange] = []
        self._loop = asyncio.get_running_loop()
        super().__init__(**options)

    def handle(self, request: APIRequest) -> APIResponse:
        response = super().handle(request)
        user = request.credential.user
        query = f"?{urlencode(request.query)}" if request.query else ""
        self.exchanges.append(
            Exchange(
                round(self._loop.time(), 6),
                user.name if user is not None else "",
                request.method,
                f"{request.path}{query}",
                _body_hash(request.path, request.body),
                response.status,
            )
        )
        return response


def _body_hash(path: str, body: bytes) -> str:
    if not body:
        return ""
    if "/secrets" in path:
        body = msgspec.json.encode(masked(msgspec.json.decode(body)))
    return hashlib.sha256(body).hexdigest()[:16]


def masked(obj: Any) -> Any:
    """Return an object without the values of ``data`` and ``stringData``."""
    if not isinstance(obj, dict):
        return obj
    hidden = {
        field: dict.fromkeys(obj[field], "masked")
        for field in ("data", "stringData")
        if isinstance(obj.get(field), dict)
    }
    return {**obj, **hidden}
