"""The scale subresource: one number of an object, seen as ``autoscaling/v1`` Scale."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyoperator.apiserver.registry._kind import Kind, Object


def read_scale(kind: Kind, obj: Object) -> Object:
    """Return the object's Scale; raises LookupError if the kind has none."""
    spec_path, status_path, selector_path = _paths(kind)
    metadata = obj.get("metadata", {})
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    scale: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {},
        "status": {"replicas": _get(obj, status_path) or 0},
    }
    replicas = _get(obj, spec_path)
    if replicas:
        scale["spec"]["replicas"] = replicas
    selector = _selector_text(_get(obj, selector_path)) if selector_path else ""
    if selector:
        scale["status"]["selector"] = selector
    return scale


def write_scale(kind: Kind, obj: Object, scale: Object) -> Object:
    """Return the object with the Scale's ``spec.replicas`` (absent means 0) and resourceVersion, if it has one."""
    result = copy.deepcopy(obj)
    parts = _paths(kind)[0].strip(".").split(".")
    target = result
    for part in parts[:-1]:
        target = target.setdefault(part, {})
    target[parts[-1]] = (scale.get("spec") or {}).get("replicas", 0)
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        result["metadata"]["resourceVersion"] = version
    return result


def _paths(kind: Kind) -> tuple[str, str, str]:
    if kind.scale_paths is None:
        raise LookupError(f"{kind.plural} have no scale subresource")
    return kind.scale_paths


def _get(obj: Object, path: str) -> Any:
    value: Any = obj
    for part in path.strip(".").split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _selector_text(selector: Any) -> str:
    if isinstance(selector, str):
        return selector
    if not isinstance(selector, dict):
        return ""
    labels = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    terms = [f"{key}={value}" for key, value in sorted(labels.items())]
    for rule in selector.get("matchExpressions", ()):
        key, operator, values = rule.get("key"), rule.get("operator"), ",".join(sorted(rule.get("values") or ()))
        shape = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": f"{key}"}
        terms.append(shape.get(operator, f"!{key}"))
    return ",".join(terms)
