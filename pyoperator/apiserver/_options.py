"""How one embedded server is set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyoperator.apiserver.access import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pyoperator.apiserver.access import AuditLog, User
    from pyoperator.apiserver.storage import Persistence


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Choices of one server; the defaults suit tests.

    ``tokens`` maps bearer tokens to users; ``token_file`` is kube-apiserver's static CSV, read again when it changes.
    ``anonymous``: who a request without credentials is (None: refuse with 401). ``history``: changes that a watch can
    resume over; ``history_bytes``: how much data they may hold beyond the present state; what is older is compacted
    (410). ``watch_buffer``: events a slow watcher may leave unread. ``bookmark_interval`` in seconds.
    ``watch_list``: whether watches may begin with the present state (False: as a server without the feature gate WatchList).
    ``signing_key``: for service-account tokens, at least 32 bytes; made from the server's randomness when empty.
    """

    tokens: Mapping[str, User] = field(default_factory=dict, repr=False)
    token_file: Path | None = None
    anonymous: User | None = ANONYMOUS
    audit: AuditLog | None = None
    history: int = 10_000
    history_bytes: int = 64 * 1024 * 1024
    watch_buffer: int = 10_000
    bookmark_interval: float = 60.0
    watch_list: bool = True
    persistence: Persistence | None = None
    signing_key: bytes = field(default=b"", repr=False)
    body_limit: int = 3 * 1024 * 1024
