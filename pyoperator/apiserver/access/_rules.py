"""RBAC policy rules as data: does a rule allow a request, do some rules cover others, how is a rule written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One entry of ``rules`` of a Role or ClusterRole."""

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def parse(cls, rule: Mapping[str, Any]) -> PolicyRule:
        return cls(
            verbs=_strings(rule.get("verbs")),
            groups=_strings(rule.get("apiGroups")),
            resources=_strings(rule.get("resources")),
            resource_names=_strings(rule.get("resourceNames")),
            urls=_strings(rule.get("nonResourceURLs")),
        )

    def allows_resource(self, verb: str, group: str, resource: str, subresource: str, name: str) -> bool:
        """Tell whether a request for a resource is allowed. Restricted by names, a rule never allows a nameless one."""
        return (
            (verb in self.verbs or "*" in self.verbs)
            and (group in self.groups or "*" in self.groups)
            and self._names_resource(resource, subresource)
            and (not self.resource_names or name in self.resource_names)
        )

    def _names_resource(self, resource: str, subresource: str) -> bool:
        if "*" in self.resources:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or f"*/{subresource}" in self.resources

    def allows_url(self, verb: str, path: str) -> bool:
        """Tell whether a request for a path that is no resource is allowed; a trailing ``*`` is a prefix."""
        return (verb in self.verbs or "*" in self.verbs) and any(_url_covers(url, path) for url in self.urls)

    def covers(self, part: PolicyRule) -> bool:
        """Tell whether everything that ``part`` allows is allowed by this rule alone."""
        return (
            _contains_all(self.verbs, part.verbs)
            and _contains_all(self.groups, part.groups)
            and self._covers_resources(part.resources)
            and all(any(_url_covers(mine, url) for mine in self.urls) for url in part.urls)
            and (
                not self.resource_names
                or (bool(part.resource_names) and set(part.resource_names) <= set(self.resource_names))
            )
        )

    def _covers_resources(self, wanted: Sequence[str]) -> bool:
        if "*" in self.resources or set(wanted) <= set(self.resources):
            return True
        return all(
            resource in self.resources or ("/" in resource and f"*/{resource.split('/', 1)[1]}" in self.resources)
            for resource in wanted
        )

    def parts(self) -> Iterator[PolicyRule]:
        """Split into rules of one verb, one group, one resource, one name: what must be covered one by one."""
        for group in self.groups:
            for resource in self.resources:
                for verb in self.verbs:
                    if not self.resource_names:
                        yield PolicyRule((verb,), (group,), (resource,))
                    for name in self.resource_names:
                        yield PolicyRule((verb,), (group,), (resource,), (name,))
        for url in self.urls:
            for verb in self.verbs:
                yield PolicyRule(verbs=(verb,), urls=(url,))

    def shape(self) -> dict[str, list[str]]:
        """Return the rule as JSON has it."""
        fields = (
            ("verbs", self.verbs),
            ("apiGroups", self.groups),
            ("resources", self.resources),
            ("resourceNames", self.resource_names),
            ("nonResourceURLs", self.urls),
        )
        return {key: list(values) for key, values in fields if values}

    def __str__(self) -> str:
        fields = (
            ("APIGroups", self.groups),
            ("Resources", self.resources),
            ("ResourceNames", self.resource_names),
            ("NonResourceURLs", self.urls),
            ("Verbs", self.verbs),
        )
        return "{" + ", ".join(f"{key}:{quoted(values)}" for key, values in fields if values) + "}"


def missing(owned: Sequence[PolicyRule], wanted: Iterable[PolicyRule]) -> list[PolicyRule]:
    """Return the parts of ``wanted`` that no rule of ``owned`` covers, verbs of one resource together."""
    absent = [part for rule in wanted for part in rule.parts() if not any(mine.covers(part) for mine in owned)]
    together: dict[PolicyRule, list[str]] = {}
    for part in absent:
        # Only rules about one resource are merged; each path keeps a line per verb, as the original shows them.
        key = PolicyRule(
            () if part.resources else part.verbs, part.groups, part.resources, part.resource_names, part.urls
        )
        verbs = together.setdefault(key, [])
        verbs.extend(verb for verb in part.verbs if verb not in verbs)
    return [
        PolicyRule(tuple(verbs), key.groups, key.resources, key.resource_names, key.urls)
        for key, verbs in together.items()
    ]


def quoted(values: Iterable[str]) -> str:
    """Write strings as ``["a" "b"]``, the form of the messages."""
    return "[" + " ".join(json.dumps(value) for value in values) + "]"


def _contains_all(mine: Sequence[str], wanted: Sequence[str]) -> bool:
    return "*" in mine or set(wanted) <= set(mine)


def _url_covers(pattern: str, path: str) -> bool:
    if pattern in ("*", path):
        return True
    return pattern.endswith("*") and path.startswith(pattern[:-1])
