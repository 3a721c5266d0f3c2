"""The fence's contract: who may send, asked in the last synchronous step before bytes go out, at each attempt."""

from __future__ import annotations

from typing import Protocol

_READ_ONLY = frozenset({"GET", "HEAD", "OPTIONS"})


def is_mutating(method: str, path: str) -> bool:
    """Tell whether a request can change state; reviews (SubjectAccessReview and the like) are POSTs that can't."""
    if method in _READ_ONLY:
        return False
    return not (path.startswith(("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")))


class Gate(Protocol):
    """Decide whether a mutating request may leave this process now."""

    def admit(self, method: str, path: str) -> float | None:
        """Return the seconds within which the request must be answered, or None for no bound.

        Synchronous and cheap. Raises LeadershipLost when the request must not be sent. Called for mutating requests
        only, once when an attempt begins and again right before its bytes are written.
        """
        ...


class OpenGate:
    """Let everything through: the gate of clients that no election fences."""

    def admit(self, method: str, path: str) -> float | None:
        return None

    def __repr__(self) -> str:
        return "OpenGate()"
