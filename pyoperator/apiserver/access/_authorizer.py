"""RBAC: may this user do this? Answered from an index of grants per subject, rebuilt when roles or bindings change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.access._identity import service_account_user_name
from pyoperator.apiserver.access._rules import PolicyRule
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pyoperator.apiserver.access._identity import User

RBAC_GROUP = "rbac.authorization.k8s.io"
ROLE = GroupVersionKind(RBAC_GROUP, "v1", "Role")
ROLE_BINDING = GroupVersionKind(RBAC_GROUP, "v1", "RoleBinding")
CLUSTER_ROLE = GroupVersionKind(RBAC_GROUP, "v1", "ClusterRole")
CLUSTER_ROLE_BINDING = GroupVersionKind(RBAC_GROUP, "v1", "ClusterRoleBinding")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request wants to do. ``resource`` is empty for paths that are no resource (``/healthz``).

    ``verb``: get, list, watch, create, update, patch, delete, deletecollection, or the lower-case HTTP method for a
    path. ``name`` is empty for create; a list or watch restricted to one name by ``metadata.name=`` carries it.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer; ``reason`` names the binding that allows, or the roles that could not be found."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Grant:
    namespace: str  # "" grants everywhere
    rules: tuple[PolicyRule, ...]
    reason: str
    error: str = ""


@dataclass(slots=True)
class _Index:
    by_subject: dict[tuple[str, str], list[_Grant]] = field(default_factory=dict)
    cluster_roles: dict[str, tuple[PolicyRule, ...]] = field(default_factory=dict)
    roles: dict[tuple[str, str], tuple[PolicyRule, ...]] = field(default_factory=dict)


class Authorizer:
    """Decide by RBAC: roles, cluster roles (aggregated ones too), their bindings; ``system:masters`` may do all.

    ``lister(gvk, namespace)`` yields the objects of a kind ("" is all namespaces). ``revision()`` returns a number
    that grows whenever an object of the group rbac.authorization.k8s.io may have changed; the index is rebuilt at the
    first question after that. Without it, call :meth:`observe` with each change.
    """

    def __init__(
        self,
        lister: Callable[[GroupVersionKind, str], Iterable[Mapping[str, Any]]],
        *,
        revision: Callable[[], int] | None = None,
    ) -> None:
        self._lister = lister
        self._revision = revision
        self._indexed_at: int | None = None
        self._built: _Index | None = None

    def observe(self, gvk: GroupVersionKind) -> None:
        """Take note that an object of this kind changed."""
        if gvk.group == RBAC_GROUP:
            self._built = None

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        """Answer for one request, with the reason that the audit log and reviews show."""
        if user.is_master:
            return Decision(allowed=True)
        wanted = attributes
        errors: dict[str, None] = {}
        for grant in self._grants(user, wanted.namespace):
            if grant.error:
                errors[grant.error] = None
            for rule in grant.rules:
                if (
                    rule.allows_resource(wanted.verb, wanted.group, wanted.resource, wanted.subresource, wanted.name)
                    if wanted.resource
                    else rule.allows_url(wanted.verb, wanted.path)
                ):
                    return Decision(allowed=True, reason=f"RBAC: allowed by {grant.reason}")
        if not errors:
            return Decision(allowed=False)
        texts = list(errors)
        return Decision(allowed=False, reason=f"RBAC: {texts[0] if len(texts) == 1 else '[' + ', '.join(texts) + ']'}")

    def rules_for(self, user: User, namespace: str) -> tuple[list[PolicyRule], list[str]]:
        """Return every rule that applies to the user in a namespace ("": cluster-wide only), and what went wrong."""
        rules: list[PolicyRule] = []
        errors: list[str] = []
        for grant in self._grants(user, namespace):
            rules.extend(grant.rules)
            if grant.error and grant.error not in errors:
                errors.append(grant.error)
        return rules, errors

    def role_rules(self, kind: str, namespace: str, name: str) -> tuple[PolicyRule, ...] | None:
        """Return the effective rules of a role (``kind`` Role or ClusterRole); None if there is no such role."""
        index = self._index()
        return index.cluster_roles.get(name) if kind == "ClusterRole" else index.roles.get((namespace, name))

    def _grants(self, user: User, namespace: str) -> Iterator[_Grant]:
        by_subject = self._index().by_subject
        subjects = (("User", user.name), *(("Group", group) for group in user.groups))
        # Cluster-wide grants first, so that the reason given is the one the original would give.
        for subject in subjects:
            for grant in by_subject.get(subject, ()):
                if not grant.namespace:
                    yield grant
        if namespace:
            for subject in subjects:
                for grant in by_subject.get(subject, ()):
                    if grant.namespace == namespace:
                        yield grant

    def _index(self) -> _Index:
        revision = self._revision() if self._revision is not None else None
        if self._built is None or revision != self._indexed_at:
            self._built = self._build()
            self._indexed_at = revision
        return self._built

    def _build(self) -> _Index:
        index = _Index(cluster_roles=effective_cluster_roles(self._lister(CLUSTER_ROLE, "")))
        for role in self._lister(ROLE, ""):
            metadata = role.get("metadata") or {}
            index.roles[metadata.get("namespace", ""), metadata.get("name", "")] = _parse_rules(role)
        for gvk in (CLUSTER_ROLE_BINDING, ROLE_BINDING):
            for binding in self._lister(gvk, ""):
                _index_binding(index, gvk, binding)
        return index

    def __repr__(self) -> str:
        built = self._built
        return f"Authorizer({len(built.by_subject)} subjects)" if built else "Authorizer(index stale)"


def effective_cluster_roles(roles: Iterable[Mapping[str, Any]]) -> dict[str, tuple[PolicyRule, ...]]:
    """Return each cluster role's rules; an aggregated role has the rules of the roles that its selectors name.

    kube-controller-manager writes those into the object; here they also hold before (or without) that write.
    """
    known = {(role.get("metadata") or {}).get("name", ""): role for role in roles}
    return {name: aggregated_rules(role, known) for name, role in known.items()}


def aggregated_rules(role: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> tuple[PolicyRule, ...]:
    """Return the rules of one role, following ``aggregationRule`` through roles that are aggregated themselves."""
    return tuple(dict.fromkeys(_collect(role, known, frozenset())))


def _collect(
    role: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], seen: frozenset[str]
) -> Iterator[PolicyRule]:
    selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
    if not selectors:
        yield from _parse_rules(role)
        return
    own_name = (role.get("metadata") or {}).get("name", "")
    for name, other in sorted(known.items()):
        if name == own_name or name in seen:
            continue
        labels = (other.get("metadata") or {}).get("labels") or {}
        if any(_selects(selector, labels) for selector in selectors):
            yield from _collect(other, known, seen | {own_name})


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or []:
        value, values = labels.get(expression.get("key", "")), expression.get("values") or []
        match expression.get("operator"):
            case "In":
                holds = value in values
            case "NotIn":
                holds = value not in values
            case "Exists":
                holds = value is not None
            case "DoesNotExist":
                holds = value is None
            case _:
                holds = False
        if not holds:
            return False
    return True


def _parse_rules(role: Mapping[str, Any]) -> tuple[PolicyRule, ...]:
    return tuple(PolicyRule.parse(rule) for rule in role.get("rules") or [] if isinstance(rule, dict))


def _index_binding(index: _Index, gvk: GroupVersionKind, binding: Mapping[str, Any]) -> None:
    metadata, reference = binding.get("metadata") or {}, binding.get("roleRef") or {}
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "") if gvk == ROLE_BINDING else ""
    role_kind, role_name = reference.get("kind", ""), reference.get("name", "")
    if role_kind == "ClusterRole":
        rules = index.cluster_roles.get(role_name)
    else:
        rules = index.roles.get((namespace, role_name)) if namespace else None
    error = "" if rules is not None else f'{role_kind.lower()}.{RBAC_GROUP} "{role_name}" not found'
    label = f'{gvk.kind} "{name}/{namespace}"' if namespace else f'{gvk.kind} "{name}"'
    for subject in binding.get("subjects") or []:
        kind, subject_name = subject.get("kind", ""), subject.get("name", "")
        if kind == "ServiceAccount":
            home = subject.get("namespace") or namespace
            if not home:
                continue
            key, described = ("User", service_account_user_name(home, subject_name)), f'"{subject_name}/{home}"'
        elif kind in ("User", "Group"):
            key, described = (kind, subject_name), f'"{subject_name}"'
        else:
            continue
        reason = f'{label} of {role_kind} "{role_name}" to {kind} {described}'
        index.by_subject.setdefault(key, []).append(_Grant(namespace, rules or (), reason, error))
