"""From a model to the schema that the API server enforces, and what it does with one: prune, default, validate."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pyoperator.schema._defaults import apply_defaults, has_defaults
from pyoperator.schema._errors import FieldError
from pyoperator.schema._formats import KNOWN_FORMATS
from pyoperator.schema._prune import OBJECT_META_FIELDS, prune
from pyoperator.schema._structural_check import check_structural, has_rules, unsupported_formats
from pyoperator.schema._validate import validate

if TYPE_CHECKING:
    from pyoperator.schema._crd_manifest import crd_manifest
    from pyoperator.schema._structural_schema import StructuralSchemaError, structural_schema

__all__ = [
    "KNOWN_FORMATS",
    "OBJECT_META_FIELDS",
    "FieldError",
    "StructuralSchemaError",
    "apply_defaults",
    "check_structural",
    "crd_manifest",
    "has_defaults",
    "has_rules",
    "prune",
    "structural_schema",
    "unsupported_formats",
    "validate",
]

# Imported when asked for: what they need takes longer to import than the rest together.
_LAZY = {
    "StructuralSchemaError": "pyoperator.schema._structural_schema",
    "crd_manifest": "pyoperator.schema._crd_manifest",
    "structural_schema": "pyoperator.schema._structural_schema",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
