"""Finalizers: names that keep a deleted object around until their owner has cleaned up."""

from __future__ import annotations

from typing import Any, cast


def _list(obj: Any) -> list[str]:
    if isinstance(obj, dict):
        return cast("list[str]", obj.setdefault("metadata", {}).setdefault("finalizers", []))
    return cast("list[str]", obj.metadata.finalizers)


def has_finalizer(obj: Any, name: str) -> bool:
    """Tell whether the object carries the finalizer."""
    if isinstance(obj, dict):
        return name in (obj.get("metadata", {}).get("finalizers") or ())
    return name in obj.metadata.finalizers


def add_finalizer(obj: Any, name: str) -> bool:
    """Add the finalizer to the object in memory; return whether it was missing."""
    if has_finalizer(obj, name):
        return False
    finalizers = [*_list(obj), name]
    _assign(obj, finalizers)
    return True


def remove_finalizer(obj: Any, name: str) -> bool:
    """Remove the finalizer from the object in memory; return whether it was there."""
    if not has_finalizer(obj, name):
        return False
    _assign(obj, [entry for entry in _list(obj) if entry != name])
    return True


def _assign(obj: Any, finalizers: list[str]) -> None:
    if isinstance(obj, dict):
        obj["metadata"]["finalizers"] = finalizers
    else:
        obj.metadata.finalizers = finalizers  # assigned, not edited: only then does pydantic know that it was set
