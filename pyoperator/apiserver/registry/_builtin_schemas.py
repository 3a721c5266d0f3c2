"""The schemas of the built-in kinds: one compressed table of facts, read when a schema is first asked for.

Made from a real kube-apiserver by ``scripts/builtin-schemas``; ``$ref`` names another definition of the table.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pyoperator.apiserver.registry._kind import Object


class BuiltinSchemas:
    """Definitions by name, and which definition describes which kind."""

    def __init__(self, kinds: dict[str, str], definitions: dict[str, Object]) -> None:
        self.kinds = kinds
        self.definitions = definitions

    def name_of(self, group: str, version: str, kind: str) -> str | None:
        return self.kinds.get(f"{group}/{version}/{kind}")

    def resolve(self, schema: Object) -> Object:
        """Follow ``$ref``: return the definition that the schema stands for, or the schema itself."""
        while (name := schema.get("$ref")) is not None:
            schema = self.definitions[name]
        return schema

    def closure(self, names: list[str]) -> dict[str, Object]:
        """Return the named definitions with all that they refer to."""
        found: dict[str, Object] = {}
        pending = list(names)
        while pending:
            name = pending.pop()
            if name not in found:
                found[name] = self.definitions[name]
                pending.extend(references(found[name]))
        return found


def references(schema: Any) -> list[str]:
    """Return the names that a schema refers to directly."""
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [name for value in schema.values() for name in references(value)]
    if isinstance(schema, list):
        return [name for value in schema for name in references(value)]
    return []


@cache  # immutable facts of the package, the same for every server of the process
def builtin_schemas() -> BuiltinSchemas:
    """Read the table (a few milliseconds, once)."""
    data = resources.files("pyoperator.apiserver.registry").joinpath("builtin_schemas.json.gz").read_bytes()
    document = msgspec.json.decode(gzip.decompress(data))
    return BuiltinSchemas(document["kinds"], document["definitions"])
