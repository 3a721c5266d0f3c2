"""Nobody gives away what they do not have: the check on writes of roles and bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver._status import forbidden, not_found
from pyoperator.apiserver.access._authorizer import RBAC_GROUP, Attributes, Authorizer
from pyoperator.apiserver.access._rules import PolicyRule, missing, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyoperator.apiserver.access._identity import User

_PLURALS = {
    "Role": "roles",
    "ClusterRole": "clusterroles",
    "RoleBinding": "rolebindings",
    "ClusterRoleBinding": "clusterrolebindings",
}
_EVERYTHING = (PolicyRule(("*",), ("*",), ("*",)), PolicyRule(verbs=("*",), urls=("*",)))


def check_escalation(
    authorizer: Authorizer, user: User, obj: Mapping[str, Any], old: Mapping[str, Any] | None = None
) -> None:
    """Refuse (StatusError 403) the write of a role or binding that would grant more than the user has.

    ``obj`` is what would be stored, with kind, name and namespace; ``old`` what is stored now (None: create). Other
    kinds pass. The verbs ``escalate`` (on roles) and ``bind`` (on the role a binding names) are the ways around.
    """
    kind = obj.get("kind", "")
    if kind not in _PLURALS or user.is_master:
        return
    if kind in ("Role", "ClusterRole"):
        _check_role(authorizer, user, obj, old)
    else:
        _check_binding(authorizer, user, obj, old)


def _check_role(authorizer: Authorizer, user: User, obj: Mapping[str, Any], old: Mapping[str, Any] | None) -> None:
    if old is not None and all(
        (obj.get(key) or None) == (old.get(key) or None) for key in ("rules", "aggregationRule")
    ):
        return  # labels, annotations, finalizers: nothing is granted
    kind, metadata = obj["kind"], obj.get("metadata") or {}
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    escalate = Attributes("escalate", RBAC_GROUP, _PLURALS[kind], namespace=namespace, name=name, version="v1")
    if authorizer.authorize(user, escalate).allowed:
        return
    if obj.get("aggregationRule") and missing(authorizer.rules_for(user, namespace)[0], _EVERYTHING):
        raise forbidden(
            RBAC_GROUP, _PLURALS[kind], name, "must have cluster-admin privileges to use the aggregationRule"
        )
    rules = [PolicyRule.parse(rule) for rule in obj.get("rules") or []]
    _check_rules(authorizer, user, kind, name, namespace, rules)


def _check_binding(authorizer: Authorizer, user: User, obj: Mapping[str, Any], old: Mapping[str, Any] | None) -> None:
    if old is not None and all((obj.get(key) or None) == (old.get(key) or None) for key in ("subjects", "roleRef")):
        return
    kind, metadata, reference = obj["kind"], obj.get("metadata") or {}, obj.get("roleRef") or {}
    namespace = metadata.get("namespace", "") if kind == "RoleBinding" else ""
    role_kind, role_name = reference.get("kind", ""), reference.get("name", "")
    bind = Attributes(
        "bind", RBAC_GROUP, _PLURALS.get(role_kind, ""), namespace=namespace, name=role_name, version="v1"
    )
    if authorizer.authorize(user, bind).allowed:
        return
    rules = authorizer.role_rules(role_kind, namespace, role_name)
    if rules is None:
        raise not_found(RBAC_GROUP, _PLURALS[kind], role_name)
    _check_rules(authorizer, user, kind, metadata.get("name", ""), namespace, rules)


def _check_rules(
    authorizer: Authorizer, user: User, kind: str, name: str, namespace: str, rules: Iterable[PolicyRule]
) -> None:
    owned, errors = authorizer.rules_for(user, namespace)
    absent = missing(owned, rules)
    if not absent:
        return
    lines = "\n".join(sorted(str(rule) for rule in absent))
    unresolved = f"; resolution errors: [{' '.join(errors)}]" if errors else ""
    raise forbidden(
        RBAC_GROUP,
        _PLURALS[kind],
        name,
        f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions not currently held:\n'
        f"{lines}{unresolved}",
    )
