"""What stands before a request's body: the request line and the headers, as bytes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from yarl import URL

    from pyoperator.client._transport import Query

_WITHOUT_LENGTH = frozenset({"GET", "HEAD", "OPTIONS"})
_PATH_SAFE = "/:@!$&'()*+,;=~"


class RequestHeads:
    """Render heads of requests to one server.

    ``headers`` are what the server's and the proxy's addresses ask for, names in lower case: the caller merges them with
    its own. A plain server behind a proxy is asked by its whole address, and told to the proxy who we are; a TLS server
    behind one is asked as if there were none, through the tunnel that the connector has opened.
    """

    def __init__(self, server: URL, proxy: URL | None) -> None:
        host = server.host_port_subcomponent or ""
        self.headers = {"host": host}
        if server.user or server.password:
            self.headers["authorization"] = _basic(server)
        self._prefix = server.raw_path.rstrip("/")
        if proxy is not None and server.scheme == "http":
            self._prefix = f"http://{host}{self._prefix}"
            if proxy.user or proxy.password:
                self.headers["proxy-authorization"] = _basic(proxy)

    def render(
        self, method: str, path: str, query: Query, headers: Iterable[tuple[str, str]], body: bytes | None
    ) -> bytes:
        """Return the head; raises ValueError for a header that would break it up, naming it but not its value."""
        target = quote(path, safe=_PATH_SAFE)
        if query:
            target = f"{target}?{urlencode(query)}"
        lines = [f"{method} {self._prefix}{target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body is not None or method not in _WITHOUT_LENGTH:
            lines.append(f"content-length: {len(body or b'')}")
        head = "\r\n".join(lines)
        # One look at the whole instead of one at each part.
        if not head.count("\r") == head.count("\n") == len(lines) - 1 or "\0" in head:
            raise ValueError(
                f"{_culprit(method, headers)} holds a line break or a null byte: it would break the request up"
            )
        return f"{head}\r\n\r\n".encode()


def _culprit(method: str, headers: Iterable[tuple[str, str]]) -> str:
    for name, value in headers:
        if any(character in name or character in value for character in "\r\n\0"):
            return f"the header {name!r}"
    return f"the method {method!r}"


def _basic(address: URL) -> str:
    pair = f"{address.user or ''}:{address.password or ''}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
