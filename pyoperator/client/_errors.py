"""One shallow tree of errors: what the API server said, what the connection did, and what the fence refused."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Status:
    """The server's ``Status`` object (``metav1.Status``) of a failed request."""

    code: int
    reason: str = ""
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def causes(self) -> list[Mapping[str, Any]]:
        """What exactly was wrong: mappings with ``reason``, ``message`` and ``field``."""
        return list(self.details.get("causes") or [])


class TransportError(Exception):
    """The request got no valid answer: refused, reset, timed out, or not HTTP. It may have been carried out.

    ``sent`` is False when it is certain that no byte of the request left this process.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class LeadershipLost(Exception):
    """The fence refused a write: this process does not lead (any more)."""


class ApiError(Exception):
    """The API server answered with an error; ``status`` is what it said, ``method`` and ``path`` what was asked."""

    codes: ClassVar[tuple[int, ...]] = ()
    reasons: ClassVar[tuple[str, ...]] = ()

    def __init__(self, status: Status, *, method: str = "", path: str = "", retry_after: float | None = None) -> None:
        what = f"{method} {path}: " if method else ""
        super().__init__(f"{what}{status.message or status.reason or 'no message'} (HTTP {status.code})")
        self.status = status
        self.method = method
        self.path = path
        self.retry_after = retry_after


class BadRequest(ApiError):
    """400: the request makes no sense to the server."""


class Unauthorized(ApiError):
    """401: the server does not know who we are."""


class Forbidden(ApiError):
    """403: the server knows who we are and does not allow this."""


class NotFound(ApiError):
    """404: no such object, or no such kind."""


class MethodNotAllowed(ApiError):
    """405: the resource has no such verb."""


class Conflict(ApiError):
    """409: the object has changed since it was read, or a precondition failed."""


class AlreadyExists(Conflict):
    """409 on create: an object of that name exists."""


class Gone(ApiError):
    """410: what was asked for is no longer there."""


class Expired(Gone):
    """410: the resourceVersion or the continue token is too old; list again."""


class UnsupportedMediaType(ApiError):
    """415: the server does not take this content type here."""


class Invalid(ApiError):
    """422: the object fails validation; ``status.causes`` says which fields."""


class TooManyRequests(ApiError):
    """429: the server asks to slow down (or a disruption budget forbids an eviction)."""


class InternalError(ApiError):
    """500 and other 5xx."""


class ServiceUnavailable(InternalError):
    """503: the server can't serve now."""


class ServerTimeout(InternalError):
    """504, or 500 with reason ServerTimeout: the server did not finish in time; the request may have been carried out."""


_BY_REASON: dict[str, type[ApiError]] = {
    "AlreadyExists": AlreadyExists,
    "Expired": Expired,
    "ServerTimeout": ServerTimeout,
    "Timeout": ServerTimeout,
}
_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    410: Gone,
    415: UnsupportedMediaType,
    422: Invalid,
    429: TooManyRequests,
    503: ServiceUnavailable,
    504: ServerTimeout,
}


def error_for(
    code: int, body: bytes | Mapping[str, Any], *, method: str = "", path: str = "", retry_after: str | None = None
) -> ApiError:
    """Build the error for an answer with an error code; a body that is no Status (a proxy's HTML) is quoted in part."""
    status = _read_status(code, body)
    kind = _BY_REASON.get(status.reason) or _BY_CODE.get(code) or (InternalError if code >= 500 else ApiError)
    try:
        seconds = float(retry_after) if retry_after else None
    except ValueError:
        seconds = None  # the HTTP-date form: API servers send seconds
    if seconds is not None and not 0 <= seconds < inf:
        seconds = None  # no time at all: whoever slept for it would never wake
    return kind(status, method=method, path=path, retry_after=seconds)


def _read_status(code: int, body: bytes | Mapping[str, Any]) -> Status:
    raw: Any = body
    if isinstance(body, bytes):
        try:
            raw = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raw = None
    if not isinstance(raw, dict) or raw.get("kind") != "Status":
        text = body[:200].decode("utf-8", "replace").strip() if isinstance(body, bytes) else ""
        return Status(code=code, message=text or "the answer has no Status body")
    return Status(
        code=int(raw.get("code") or code),
        reason=str(raw.get("reason") or ""),
        message=str(raw.get("message") or ""),
        details=raw.get("details") or {},
    )


@contextmanager
def ignore_not_found() -> Iterator[None]:
    """Swallow NotFound raised inside the block: for deletes, and for reads of what may be gone."""
    try:
        yield
    except NotFound:
        return
