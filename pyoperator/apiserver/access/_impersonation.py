"""Acting as somebody else: the ``Impersonate-*`` headers, allowed by RBAC in two ways.

The older way is the verb ``impersonate`` on users, groups, service accounts, uids and user extras. The newer one
(constrained impersonation) needs ``impersonate:MODE`` on the user *and* ``impersonate-on:MODE:VERB`` on what is asked
for, so that somebody can be allowed to act as others for some requests only.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyoperator.apiserver._status import bad_request
from pyoperator.apiserver.access._authorizer import Attributes
from pyoperator.apiserver.access._identity import (
    ANONYMOUS_NAME,
    AUTHENTICATED,
    UNAUTHENTICATED,
    User,
    node_name,
    service_account_groups,
    split_service_account,
)
from pyoperator.apiserver.access._refusals import forbidden

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyoperator.apiserver._status import StatusError
    from pyoperator.apiserver.access._authorizer import Authorizer

_GROUP = "authentication.k8s.io"
_PREFIX = "impersonate-"
_EXTRA = "impersonate-extra-"


def impersonated_user(
    authorizer: Authorizer, user: User, headers: Mapping[str, str | Sequence[str]], attributes: Attributes
) -> User | None:
    """Return whom the request acts as, None if it does not ask for it; raises StatusError 400 or 403.

    Header names are lower-case; a header sent several times (groups, extras) is a sequence of its values.
    """
    wanted = _read(headers)
    if wanted is None:
        return None
    first: StatusError | None = None
    for mode in _modes(wanted):
        refusal = _refusal(authorizer, user, wanted, attributes, mode)
        if refusal is None:
            return _completed(wanted, mode)
        first = first or refusal
    raise first or forbidden(user, attributes)


def _read(headers: Mapping[str, str | Sequence[str]]) -> User | None:
    if not any(name.startswith(_PREFIX) for name in headers):
        return None
    groups = tuple(_values(headers.get("impersonate-group", ())))
    extra: dict[str, tuple[str, ...]] = {}
    for header in sorted(headers):
        if header.startswith(_EXTRA):
            key = unquote(header.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), *_values(headers[header]))
    name = next(iter(_values(headers.get("impersonate-user", ()))), "")
    uid = next(iter(_values(headers.get("impersonate-uid", ()))), "")
    if not name:
        if groups or extra or uid:
            raise bad_request(f"requested {_go_user(uid, groups, extra)} without impersonating a user name")
        return None
    return User(name, uid, groups, extra)


def _values(value: str | Sequence[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def _modes(wanted: User) -> Iterator[str]:
    only_name = not (wanted.groups or wanted.uid or wanted.extra)
    if node_name(wanted.name) is not None:
        if only_name:
            yield "arbitrary-node"
    elif split_service_account(wanted.name) is not None:
        if only_name:
            yield "serviceaccount"
    else:
        yield "user-info"
    yield ""


def _refusal(authorizer: Authorizer, user: User, wanted: User, attributes: Attributes, mode: str) -> StatusError | None:
    checks = list(_checks(wanted, f"impersonate:{mode}" if mode else "impersonate", mode))
    if mode:
        checks.insert(0, replace(attributes, verb=f"impersonate-on:{mode}:{attributes.verb}"))
    for check in checks:
        decision = authorizer.authorize(user, check)
        if not decision.allowed:
            return forbidden(user, check, decision.reason)
    return None


def _checks(wanted: User, verb: str, mode: str) -> Iterator[Attributes]:
    group = _GROUP if mode else ""
    account, node = split_service_account(wanted.name), node_name(wanted.name)
    if account is not None:
        yield Attributes(verb, group, "serviceaccounts", namespace=account[0], name=account[1], version="v1")
    elif mode and node is not None:
        yield Attributes(verb, group, "nodes", name=node, version="v1")
    else:
        yield Attributes(verb, group, "users", name=wanted.name, version="v1")
    if wanted.uid:
        yield Attributes(verb, _GROUP, "uids", name=wanted.uid, version="v1")
    for name in wanted.groups:
        yield Attributes(verb, group, "groups", name=name, version="v1")
    for key, values in wanted.extra.items():
        for value in values:
            yield Attributes(verb, _GROUP, "userextras", key, name=value, version="v1")


def _completed(wanted: User, mode: str) -> User:
    account = split_service_account(wanted.name)
    if mode == "arbitrary-node":
        wanted = User(wanted.name, groups=("system:nodes",))
    elif account is not None and not wanted.groups:
        wanted = User(wanted.name, wanted.uid, service_account_groups(account[0]), wanted.extra)
    if wanted.name == ANONYMOUS_NAME:
        return wanted.with_group(UNAUTHENTICATED)
    return wanted if UNAUTHENTICATED in wanted.groups else wanted.with_group(AUTHENTICATED)


def _go_user(uid: str, groups: tuple[str, ...], extra: Mapping[str, tuple[str, ...]]) -> str:
    # The original prints its own data structure here; scripts match on the sentence around it.
    def listed(values: Sequence[str]) -> str:
        return "[]string{" + ", ".join(json.dumps(value) for value in values) + "}"

    pairs = ", ".join(f"{json.dumps(key)}:{listed(values)[8:]}" for key, values in sorted(extra.items()))
    return (
        f'&user.DefaultInfo{{Name:"", UID:{json.dumps(uid)}, Groups:{listed(groups) if groups else "[]string(nil)"}, '
        f"Extra:map[string][]string{'{' + pairs + '}' if extra else '(nil)'}}}"
    )
