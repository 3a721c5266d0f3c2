"""Discovery documents: which groups, versions and resources there are, in the classic and the aggregated form."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyoperator.apiserver.registry._kind import Kind, Object

_JSON = "application/json"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
_UPDATES = ["get", "patch", "update"]

# What a subresource answers with where it isn't the object itself: (group, version, kind), and its verbs.
_SUBRESOURCES: dict[str, tuple[tuple[str, str, str] | None, list[str]]] = {
    "attach": (("", "v1", "PodAttachOptions"), ["create", "get"]),
    "binding": (("", "v1", "Binding"), ["create"]),
    "ephemeralcontainers": (None, _UPDATES),
    "eviction": (("policy", "v1", "Eviction"), ["create"]),
    "exec": (("", "v1", "PodExecOptions"), ["create", "get"]),
    "finalize": (None, ["update"]),
    "log": (None, ["get"]),
    "portforward": (("", "v1", "PodPortForwardOptions"), ["create", "get"]),
    "resize": (None, _UPDATES),
    "scale": (("autoscaling", "v1", "Scale"), _UPDATES),
    "status": (None, _UPDATES),
    "token": (("authentication.k8s.io", "v1", "TokenRequest"), ["create"]),
}


class Discovery:
    """Render the documents, one rendering per change of what is served."""

    def __init__(self) -> None:
        self._version = -1
        self._documents: dict[tuple[str, str], tuple[str, Object]] = {}

    def answer(self, path: str, accept: str, kinds: Sequence[Kind], version: int) -> tuple[str, Object] | None:
        if version != self._version:
            self._documents.clear()
            self._version = version
        form = _wanted_form(accept) if path.rstrip("/") in ("/api", "/apis") else ""
        key = (path.rstrip("/"), form)
        found = self._documents.get(key)
        if found is None:
            made = self._render(*key, kinds)
            if made is None:
                return None
            found = self._documents[key] = made
        return found

    def _render(self, path: str, form: str, kinds: Sequence[Kind]) -> tuple[str, Object] | None:
        parts = path.strip("/").split("/")
        if form:
            legacy = parts == ["api"]
            chosen = [kind for kind in kinds if (not kind.gvk.group) == legacy]
            return _AGGREGATED.format(version=form), _aggregated(chosen, form)
        match parts:
            case ["api"]:
                return _JSON, {
                    "kind": "APIVersions",
                    "versions": ["v1"],
                    "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}],
                }
            case ["apis"]:
                groups = [_group(group, versions) for group, versions in _by_group(kinds).items() if group]
                return _JSON, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["api", "v1"]:
                return _JSON, _resources("", "v1", kinds)
            case ["apis", group]:
                versions = _by_group(kinds).get(group)
                if group and versions:
                    return _JSON, {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}
            case ["apis", group, version]:
                if version in _by_group(kinds).get(group, {}):
                    return _JSON, _resources(group, version, kinds)
        return None


def _wanted_form(accept: str) -> str:
    """Return the first version of aggregated discovery that the client asks for before plain JSON, or an empty text."""
    for entry in accept.split(","):
        parts = dict(part.strip().partition("=")[::2] for part in entry.split(";"))
        if parts.get("as") == "APIGroupDiscoveryList" and "application/json" in parts:
            if parts.get("v") in ("v2", "v2beta1"):
                return parts["v"]
        elif "application/json" in parts and "as" not in parts:
            return ""
    return ""


def version_rank(version: str) -> tuple[int, int, int]:
    """Sort key of versions, best first: v2, v1, v1beta2, v1beta1, v1alpha1, anything else."""
    for stage, marker in enumerate(("beta", "alpha"), start=1):
        if marker in version:
            major, _, minor = version[1:].partition(marker)
            if major.isdigit() and (minor.isdigit() or not minor):
                return stage, -int(major), -int(minor or 0)
    if version[:1] == "v" and version[1:].isdigit():
        return 0, -int(version[1:]), 0
    return 3, 0, 0


def _by_group(kinds: Iterable[Kind]) -> dict[str, dict[str, list[Kind]]]:
    groups: dict[str, dict[str, list[Kind]]] = {}
    for kind in kinds:
        groups.setdefault(kind.gvk.group, {}).setdefault(kind.gvk.version, []).append(kind)
    return {
        group: dict(sorted(versions.items(), key=lambda item: (version_rank(item[0]), item[0])))
        for group, versions in groups.items()
    }


def _group(group: str, versions: dict[str, list[Kind]]) -> Object:
    named = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": named, "preferredVersion": named[0]}


# The real server's order, which kubectl shows.
_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def _resources(group: str, version: str, kinds: Iterable[Kind]) -> Object:
    resources: list[Object] = []
    for kind in sorted(kinds, key=lambda kind: kind.plural):
        if (kind.gvk.group, kind.gvk.version) != (group, version):
            continue
        resource: Object = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.gvk.kind,
            "verbs": list(_CUSTOM_VERBS) if kind.custom else sorted(kind.verbs),
        }
        if kind.short_names:
            resource["shortNames"] = list(kind.short_names)
        if kind.categories:
            resource["categories"] = list(kind.categories)
        resources.append(resource)
        resources += [_subresource(kind, name) for name in sorted(kind.subresources, reverse=kind.custom)]
    document: Object = {"kind": "APIResourceList", "apiVersion": "v1"}
    document["groupVersion"] = f"{group}/{version}" if group else version
    document["resources"] = resources
    if not group:
        del document["apiVersion"]
    return document


def _subresource(kind: Kind, name: str) -> Object:
    answer, verbs = _SUBRESOURCES.get(name, (None, _UPDATES))
    resource: Object = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
    if answer is not None:
        resource |= {"group": answer[0], "version": answer[1]} if answer[0] else {}
    return resource | {"kind": answer[2] if answer else kind.gvk.kind, "verbs": verbs}


def _aggregated(kinds: Sequence[Kind], form: str) -> Object:
    items: list[Object] = []
    for group, versions in _by_group(kinds).items():
        entries = [
            {
                "version": version,
                "resources": [_aggregated_resource(kind) for kind in sorted(served, key=lambda kind: kind.plural)],
                "freshness": "Current",
            }
            for version, served in versions.items()
        ]
        items.append({"metadata": {"name": group} if group else {}, "versions": entries})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{form}",
        "metadata": {},
        "items": items,
    }


def _aggregated_resource(kind: Kind) -> Object:
    resource: Object = {
        "resource": kind.plural,
        # Spelled out only for custom resources, where the group is the CRD's.
        "responseKind": {
            "group": kind.gvk.group if kind.custom else "",
            "version": kind.gvk.version if kind.custom else "",
            "kind": kind.gvk.kind,
        },
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        resource["shortNames"] = list(kind.short_names)
    if kind.categories:
        resource["categories"] = list(kind.categories)
    if kind.subresources:
        resource["subresources"] = [_aggregated_subresource(kind, name) for name in sorted(kind.subresources)]
    return resource


def _aggregated_subresource(kind: Kind, name: str) -> Object:
    answer, verbs = _SUBRESOURCES.get(name, (None, _UPDATES))
    own = (kind.gvk.group, kind.gvk.version, kind.gvk.kind) if kind.custom else ("", "", kind.gvk.kind)
    group, version, response = answer or own
    if answer is not None and not group:
        version = ""
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": response},
        "verbs": verbs,
    }
