"""What is wrong with a patch, as the Status that answers it."""

from __future__ import annotations


class PatchError(Exception):
    """The patch can't be read, or not be applied to this object: HTTP code, Status reason and message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message


def inapplicable() -> PatchError:
    """Return the answer to a JSON patch that does not fit the object; the server gives no detail."""
    return PatchError(422, "Invalid", "the server rejected our request due to an error in our request")


def unreadable(detail: str) -> PatchError:
    """Return the answer to a body that is not of its format."""
    said = "unexpected end of JSON input" if "truncated" in detail else detail
    return PatchError(400, "BadRequest", f"error decoding patch: {said}")
