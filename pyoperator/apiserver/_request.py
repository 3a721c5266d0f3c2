"""What goes into the core and what comes out: bytes and a credential in, bytes or a watch out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyoperator.apiserver.access import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyoperator.apiserver.storage import WatchSubscription


@dataclass(frozen=True, slots=True)
class APIRequest:
    """One request. ``path`` is percent-decoded, ``query`` unencoded pairs, header names lower-case."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    credential: Credential = field(default_factory=Credential)
    source_address: str = "127.0.0.1"


@dataclass(slots=True)
class APIResponse:
    """One answer: a complete body, or (status 200) a watch to be streamed and then closed by the face.

    ``warnings`` become one ``Warning`` header each, ready to send.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    watch: WatchSubscription | None = None
