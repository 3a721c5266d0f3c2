"""Run requests of recorded answers against the registry alone."""

from __future__ import annotations

import copy
from typing import Any

from pyoperator.apiserver.registry import Kind, MalformedObject, Registry, WriteContext
from pyoperator.clock import Randomness

CONTEXT = WriteContext(now=1_800_000_000.0, random=Randomness(1))


def kind_of(registry: Registry, path: str) -> Kind:
    parts = path.strip("/").split("/")
    group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
    kind = registry.lookup(group, version, parts[-1])
    assert kind is not None, path
    return kind


def create(kind: Kind, obj: dict[str, Any]) -> tuple[int, Any]:
    """Return (201, object), (422, faults) or (400, message)."""
    obj = copy.deepcopy(obj)
    if kind.namespaced and isinstance(obj.get("metadata"), dict):
        obj["metadata"].setdefault("namespace", "default")
    try:
        obj = kind.prepare_create(obj, CONTEXT)
    except MalformedObject as error:
        name = kind.gvk.kind
        return 400, f'{name} in version "{kind.gvk.version}" cannot be handled as a {name}: {error}'
    faults = kind.validate(obj, None)
    return (422, faults) if faults else (201, kind.from_storage(kind.to_storage(obj)))
