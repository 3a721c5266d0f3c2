"""Finalizers: names that keep a deleted object around until their owner has cleaned up."""

from __future__ import annotations

from typing import Any

from pyoperator.objects._shapes import metadata_of, replace_finalizers


def has_finalizer(obj: Any, name: str) -> bool:
    """Tell whether the object carries the finalizer."""
    return name in metadata_of(obj).finalizers


def add_finalizer(obj: Any, name: str) -> bool:
    """Add the finalizer to the object in memory; return whether it was missing.

    The object's ``metadata`` is replaced, not edited: what was copied from it before stays as it was.
    """
    finalizers = metadata_of(obj).finalizers
    if name in finalizers:
        return False
    replace_finalizers(obj, (*finalizers, name))
    return True


def remove_finalizer(obj: Any, name: str) -> bool:
    """Remove the finalizer from the object in memory, as :func:`add_finalizer` adds it; return whether it was there."""
    finalizers = metadata_of(obj).finalizers
    if name not in finalizers:
        return False
    replace_finalizers(obj, [entry for entry in finalizers if entry != name])
    return True
