"""Answers that no healthy API server gives to that request: errors, a proxy's pages, garbage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pyoperator.client import Response

if TYPE_CHECKING:
    from pyoperator.clock import Randomness

_STATUSES: Final[dict[str, tuple[int, str, dict[str, str]]]] = {
    "errors": (500, "InternalError", {}),
    "throttled": (429, "TooManyRequests", {"retry-after": "1"}),
    "unauthorized": (401, "Unauthorized", {}),
    "unavailable": (503, "ServiceUnavailable", {}),
    "gone": (410, "Expired", {}),
}
_PAGES: Final = {
    "bad_gateway": (
        502,
        b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>injected</body>\r\n</html>\r\n",
    ),
    "html": (200, b"<!DOCTYPE html>\n<html><body><form action=/login>Sign in (injected)</form></body></html>\n"),
}
_GARBAGE: Final = (1, 2000)

ANSWERS: Final = (*_STATUSES, *_PAGES, "garbage")
"""The faults that are an answer in place of the server's."""


def answer(fault: str, random: Randomness) -> Response:
    """Return the answer of one of ANSWERS."""
    if fault in _STATUSES:
        code, reason, headers = _STATUSES[fault]
        return Response(code, status_body(code, reason), {"content-type": "application/json", **headers})
    if fault in _PAGES:
        code, page = _PAGES[fault]
        return Response(code, page, {"content-type": "text/html"})
    # The first byte is one that no JSON and no UTF-8 begins with: chance must not make it valid.
    body = b"\xfe" + random.randbytes(random.randint(*_GARBAGE))
    return Response(200, body, {"content-type": "application/json"})


def status_body(code: int, reason: str) -> bytes:
    """Return a ``Status`` object's JSON."""
    return msgspec.json.encode(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": f"{reason} (injected)",
            "reason": reason,
            "code": code,
        }
    )


def gone_event() -> bytes:
    """Return the watch event that says that the version to watch from is compacted."""
    return b'{"type":"ERROR","object":' + status_body(410, "Expired") + b"}\n"
