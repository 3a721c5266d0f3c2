"""Errors as the API server says them: one exception that carries a ``Status``, and the wordings of the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Self


class FieldFault(Protocol):
    """One thing wrong with one field (``pyoperator.schema.FieldError`` has this shape)."""

    @property
    def field(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...


class StatusError(Exception):
    """A request failed; the four parts become the ``Status`` object that is the answer's body.

    ``retry_after`` (seconds) is sent as a header as well.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        # An empty mapping is shown as such; None is not shown at all.
        self.details: dict[str, Any] | None = dict(details) if details is not None else None
        self.retry_after = retry_after
        # Where an expired list may go on, inconsistently.
        self.list_continue = ""

    def body(self) -> dict[str, Any]:
        """Return the ``Status`` object, without empty fields, in the real server's order."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.list_continue} if self.list_continue else {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


class Resource(Protocol):
    """What a message says of a kind: its group and plural name."""

    @property
    def group(self) -> str: ...
    @property
    def plural(self) -> str: ...


def qualified(group: str, plural: str) -> str:
    """Name a resource as messages do: ``leases.coordination.k8s.io``, or ``configmaps`` for the core group."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    return details


def not_found(group: str, plural: str, name: str) -> StatusError:
    shown = name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
    return StatusError(
        404, "NotFound", f'{qualified(group, plural)} "{shown}" not found', _details(group, plural, name)
    )


def already_exists(group: str, plural: str, name: str, *, terminating: bool = False) -> StatusError:
    why = "object is being deleted: " if terminating else ""
    return StatusError(
        409, "AlreadyExists", f'{why}{qualified(group, plural)} "{name}" already exists', _details(group, plural, name)
    )


def conflict(group: str, plural: str, name: str, why: str) -> StatusError:
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}',
        _details(group, plural, name),
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def invalid(group: str, kind: str, name: str, faults: Sequence[FieldFault]) -> StatusError:
    """Return 422 with one cause per fault; the message lists them all, as the real server's aggregate does."""
    texts: list[str] = []
    for fault in faults:
        text = f"{fault.field}: {fault.message}" if fault.field else fault.message
        if text not in texts:
            texts.append(text)
    what = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    subject = f"{kind}.{group}" if group else kind
    details = _details(group, kind, name)
    details["causes"] = [{"reason": fault.reason, "message": fault.message, "field": fault.field} for fault in faults]
    return StatusError(422, "Invalid", f'{subject} "{name}" is invalid: {what}', details)


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def forbidden(group: str, plural: str, name: str, why: str, causes: Iterable[Mapping[str, Any]] = ()) -> StatusError:
    details = _details(group, plural, name)
    listed = [dict(cause) for cause in causes]
    if listed:
        details["causes"] = listed
    if not plural:
        return StatusError(403, "Forbidden", f"forbidden: {why}", details)
    if not name:
        return StatusError(403, "Forbidden", f"{qualified(group, plural)} is forbidden: {why}", details)
    return StatusError(403, "Forbidden", f'{qualified(group, plural)} "{name}" is forbidden: {why}', details)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> StatusError:
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unknown_resource() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def not_acceptable() -> StatusError:
    return StatusError(
        406,
        "NotAcceptable",
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml",
        {},
    )


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    return StatusError(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}",
    )


def entity_too_large(limit: int) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


class TooLargeResourceVersion(StatusError):
    """504 with the cause that client-go looks for before it lists again without a version.

    Final only when the store has not reached ``wanted`` after a while: until then the request is to be asked again.
    """

    def __init__(self, wanted: int, current: int) -> None:
        super().__init__(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {wanted}, current: {current}",
            {
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
                "retryAfterSeconds": 1,
            },
            retry_after=1,
        )
        self.wanted = wanted


class PlainAnswer(Exception):
    """End the request with a plain text answer, as the real server does for paths that no API has."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def page_not_found(cls) -> Self:
        return cls(404, "404 page not found\n")
