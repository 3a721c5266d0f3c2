"""Acting as somebody else: the headers that ask the API server for it."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LEGAL = frozenset(string.ascii_letters + string.digits + "!#$&'*+-.^_`|~")
"""What may stand in a header's name (RFC 9110's token), but for the percent sign, which marks what is escaped."""


def impersonation_headers(
    user: str, *, uid: str = "", groups: Sequence[str] = (), extra: Mapping[str, Sequence[str]] | None = None
) -> tuple[tuple[str, str], ...]:
    """Return the headers with which every request is made as ``user``, for ``Configuration(headers=...)``.

    One header per group and per value of ``extra``. We must be allowed to impersonate: the verb ``impersonate`` on
    users, groups, uids and userextras. Raises ValueError for a uid, groups or extra without a user.
    """
    if not user:
        if uid or groups or extra:
            raise ValueError("a uid, groups or extra are impersonated only together with a user: name the user")
        return ()
    return tuple(_headers(user, uid, groups, extra or {}))


def _headers(
    user: str, uid: str, groups: Sequence[str], extra: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str]]:
    yield "impersonate-user", user
    if uid:
        yield "impersonate-uid", uid
    for group in groups:
        yield "impersonate-group", group
    for name, values in extra.items():
        # The server reads the name from the header's, so what a header's name can't hold is escaped (as client-go does).
        escaped = "".join(
            character if character in _LEGAL else "".join(f"%{byte:02X}" for byte in character.encode())
            for character in name
        )
        for value in values:
            yield f"impersonate-extra-{escaped}", value
