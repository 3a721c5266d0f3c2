"""What a URL asks for: a path that is no resource, or a verb on a resource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyoperator.apiserver.storage import SelectorError, parse_field_selector

if TYPE_CHECKING:
    from collections.abc import Mapping

_OBJECT_VERBS = {"GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_COLLECTION_VERBS = {"GET": "list", "HEAD": "list", "POST": "create", "DELETE": "deletecollection"}
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class Target:
    """A request's aim. ``is_resource`` is False for discovery, health and the like: then only verb and path count."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    too_deep: bool = False


def parse_target(method: str, path: str, query: Mapping[str, str]) -> Target:
    """Read the path as kube-apiserver does; ``/api/v1/namespaces/x/pods/y/status`` and its shorter forms."""
    # Empty segments are kept: "//" or a trailing slash is a path that no resource has.
    parts = path.removeprefix("/").split("/")
    if parts[-1] == "":
        parts.pop()
    if not parts or "" in parts:
        return Target(path=path, verb=method.lower())
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Target(path=path, verb=method.lower())
    legacy_watch = rest[0] == "watch" and len(rest) > 1
    if legacy_watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 2:
        if len(rest) == 2 or (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES):
            # The namespace itself, which counts as being inside itself for authorization.
            namespace = rest[1]
        else:
            namespace, rest = rest[1], rest[2:]
    resource = rest[0]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    verb = (_OBJECT_VERBS if name else _COLLECTION_VERBS).get(method, method.lower())
    if (legacy_watch and verb in {"get", "list"}) or (verb == "list" and _is_on(query.get("watch"))):
        verb = "watch"
    if verb in {"list", "watch", "deletecollection"} and not name:
        name = _selected_name(query.get("fieldSelector", ""))
    return Target(
        path=path,
        verb=verb,
        is_resource=True,
        group=group,
        version=version,
        resource=resource,
        namespace=namespace,
        name=name,
        subresource=subresource,
        too_deep=len(rest) > 3,
    )


def _is_on(text: str | None) -> bool:
    # As the real server reads flags: given at all, and not denied.
    return text is not None and text.casefold() not in {"0", "false"}


def _selected_name(selector: str) -> str:
    """Return the one name that a field selector allows: a rule with resourceNames can then apply."""
    if "metadata.name" not in selector:
        return ""
    try:
        return parse_field_selector(selector).required("metadata.name") or ""
    except SelectorError:
        return ""
