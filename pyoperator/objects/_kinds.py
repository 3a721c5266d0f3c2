"""Names of kinds: group, version and kind, and how a kind is reached over REST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class GroupVersionKind(NamedTuple):
    """Identify a kind: ``GroupVersionKind("apps", "v1", "StatefulSet")``; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """The object's ``apiVersion``: ``apps/v1``, or ``v1`` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @classmethod
    def of(cls, api_version: str, kind: str) -> GroupVersionKind:
        """Build from an object's ``apiVersion`` and ``kind``."""
        group, _, version = api_version.rpartition("/")
        return cls(group, version, kind)

    def __str__(self) -> str:
        return f"{self.api_version}, Kind={self.kind}"


@dataclass(frozen=True, slots=True)
class ResourceKind:
    """A kind together with its REST resource: what is needed to build its URLs."""

    gvk: GroupVersionKind
    plural: str
    namespaced: bool = True

    @property
    def collection(self) -> str:
        """The path of the collection over all namespaces: ``/apis/apps/v1/statefulsets``, ``/api/v1/pods``."""
        return f"{self._prefix}/{self.plural}"

    @property
    def _prefix(self) -> str:
        return f"/apis/{self.gvk.group}/{self.gvk.version}" if self.gvk.group else f"/api/{self.gvk.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of an object (or, without a name, of a collection).

        ``namespace`` is ignored for cluster-scoped kinds; for a namespaced kind without one the path is that of all
        namespaces, which only collections have: naming an object without its namespace raises ValueError.
        """
        parts = [self._prefix]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        elif self.namespaced and name:
            raise ValueError(f"{self.gvk.kind} {name!r} is namespaced: give its namespace")
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)
