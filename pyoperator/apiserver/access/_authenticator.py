"""Authentication: from what a request brings to who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.access._identity import ANONYMOUS, ANONYMOUS_NAME, AUTHENTICATED, UNAUTHENTICATED, User
from pyoperator.apiserver.access._token_file import TokenFile, TokenTable
from pyoperator.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pyoperator.apiserver.access._identity import Credential
    from pyoperator.apiserver.access._service_account_tokens import ServiceAccountTokens
    from pyoperator.clock import Clock


class Authenticator:
    """Know users by static tokens, a token file, service account tokens, client certificates, or trust (in-process).

    ``anonymous`` is who a request without any credential is: ``system:anonymous`` by default, None for 401, or any
    user (the insecure mode makes it an administrator). A credential that is given and wrong is never anonymous.
    Raises TokenFileError for a token file that cannot be read at the start.
    """

    def __init__(
        self,
        *,
        tokens: Mapping[str, User] | None = None,
        token_file: Path | None = None,
        service_accounts: ServiceAccountTokens | None = None,
        anonymous: User | None = ANONYMOUS,
        clock: Clock | None = None,
    ) -> None:
        self._tokens = TokenTable(tokens or {})
        self._token_file = TokenFile(token_file, clock=clock or SystemClock()) if token_file is not None else None
        self._service_accounts = service_accounts
        self._anonymous = anonymous

    def authenticate(self, credential: Credential) -> User | None:
        """Return who asks; None means 401."""
        if credential.user is not None:
            return _admitted(credential.user)
        if credential.certificate is not None:
            common_name, organizations = credential.certificate
            if common_name:
                return _admitted(User(common_name, groups=organizations))
        if credential.bearer_token is not None:
            found = self.review_token(credential.bearer_token)
            return found[0] if found is not None else None
        return self._anonymous

    def review_token(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]] | None:
        """Return a token's user and the audiences it is good for, None if it is not good for any of ``audiences``.

        Static tokens are good for the server's own audiences.
        """
        own = self._service_accounts.audiences if self._service_accounts is not None else ()
        shared = tuple(audience for audience in audiences if audience in own) if audiences else own
        user = self._tokens.find(token)
        if user is None and self._token_file is not None:
            user = self._token_file.find(token)
        if user is not None:
            return (_admitted(user), shared) if shared or not audiences else None
        if self._service_accounts is None:
            return None
        verified = self._service_accounts.verify(token, audiences)
        return (_admitted(verified[0]), verified[1]) if verified is not None else None

    @property
    def problem(self) -> str:
        """What is wrong with the token file now; empty when nothing is."""
        return self._token_file.problem if self._token_file is not None else ""

    def __repr__(self) -> str:
        return f"Authenticator({self._tokens!r}, {self._token_file!r})"


def _admitted(user: User) -> User:
    if user.name == ANONYMOUS_NAME or UNAUTHENTICATED in user.groups:
        return user
    return user.with_group(AUTHENTICATED)
