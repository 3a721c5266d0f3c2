"""Who asks: the credential a request carries, and the user it stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

ANONYMOUS_NAME = "system:anonymous"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"

_SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
_NODE_PREFIX = "system:node:"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated identity, as authorization, admission and the audit log see it."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_master(self) -> bool:
        """Members of ``system:masters`` may do everything; RBAC is not asked."""
        return MASTERS in self.groups

    def with_group(self, group: str) -> User:
        """Return the same user with one more group, at the end; itself when it has it already."""
        if group in self.groups:
            return self
        return User(self.name, self.uid, (*self.groups, group), self.extra)

    def info(self) -> dict[str, Any]:
        """Return ``authentication.k8s.io/v1 UserInfo``: empty fields are left out."""
        shape: dict[str, Any] = {}
        if self.name:
            shape["username"] = self.name
        if self.uid:
            shape["uid"] = self.uid
        if self.groups:
            shape["groups"] = list(self.groups)
        if self.extra:
            shape["extra"] = {key: list(values) for key, values in self.extra.items()}
        return shape


class CertificateSubject(NamedTuple):
    """The subject of a client certificate that TLS has verified: CN is the user, each O a group."""

    common_name: str
    organizations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """What a request brings to say who it is; one of the three is set, none of them means anonymous.

    ``user`` needs no proof: it is for callers inside the process only, never set from network input.
    """

    bearer_token: str | None = None
    certificate: CertificateSubject | None = None
    user: User | None = None

    def __repr__(self) -> str:
        return "<redacted>"


ANONYMOUS = User(ANONYMOUS_NAME, groups=(UNAUTHENTICATED,))
SYSTEM_USER = User("system:apiserver", groups=(MASTERS, AUTHENTICATED))


def service_account_user_name(namespace: str, name: str) -> str:
    """Return the user name of a service account."""
    return f"{_SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, str]:
    """Return the groups that every service account of a namespace is in (without ``system:authenticated``)."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


def split_service_account(user_name: str) -> tuple[str, str] | None:
    """Return (namespace, name) of a service account's user name, None for any other user."""
    if not user_name.startswith(_SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, separator, name = user_name.removeprefix(_SERVICE_ACCOUNT_PREFIX).partition(":")
    return (namespace, name) if separator and namespace and name and ":" not in name else None


def node_name(user_name: str) -> str | None:
    """Return the node's name in ``system:node:NAME``, None for any other user."""
    name = user_name.removeprefix(_NODE_PREFIX)
    return name if name and name != user_name else None
