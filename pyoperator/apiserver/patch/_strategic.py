"""Strategic merge patch: lists with a merge key merge by it, and ``$`` directives say what a plain merge can't.

The keys and strategies come from the built-in schemas. The order of merged lists is the server's: what a patch names
stands in the patch's order (or that of ``$setElementOrder``), the rest keeps its place relative to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.patch._errors import PatchError
from pyoperator.apiserver.registry import builtin_schemas

if TYPE_CHECKING:
    from pyoperator.apiserver.registry import BuiltinSchemas, Kind

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_REMOVE = "$deleteFromPrimitiveList/"

Schema = dict[str, Any]


def strategic_merge(current: dict[str, Any], patch: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Return ``current`` with a strategic merge patch applied (reuses it); raises PatchError."""
    return _Merge(builtin_schemas()).objects(current, patch, kind.schema or {})


class _Merge:
    def __init__(self, schemas: BuiltinSchemas) -> None:
        self._schemas = schemas

    def objects(self, current: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
        directive = patch.get(_PATCH)
        if directive == "replace":
            return {key: value for key, value in patch.items() if key != _PATCH}
        if directive == "delete":
            return {}
        if directive not in (None, "merge"):
            raise _faulty(f"unknown patch type: {directive} in map: {_as_go(patch)}")
        if _RETAIN in patch:
            kept = patch[_RETAIN]
            if not isinstance(kept, list):
                raise _faulty(f"{_RETAIN} must be a list")
            current = {key: value for key, value in current.items() if key in kept}
        properties = self._schemas.resolve(schema).get("properties") or {}
        orders = {key.removeprefix(_ORDER): value for key, value in patch.items() if key.startswith(_ORDER)}
        removals = {key.removeprefix(_REMOVE): value for key, value in patch.items() if key.startswith(_REMOVE)}
        for key, value in patch.items():
            if key.startswith("$"):
                continue
            if value is None:
                current.pop(key, None)
                continue
            known = properties.get(key) or self._map_schema(schema)
            current[key] = self._value(current.get(key), value, known, orders.get(key), removals.get(key), key)
        for key in [*dict.fromkeys((*orders, *removals))]:
            if key not in patch and isinstance(current.get(key), list):
                current[key] = self._lists(
                    current[key], [], properties.get(key) or {}, orders.get(key), removals.get(key), key
                )
        return current

    def _map_schema(self, schema: Schema) -> Schema:
        items = self._schemas.resolve(schema).get("additionalProperties")
        return items if isinstance(items, dict) else {}

    def _value(self, current: Any, value: Any, schema: Schema, order: Any, removal: Any, key: str) -> Any:
        if isinstance(value, dict):
            if current is not None and not isinstance(current, dict):
                raise _invalid(key, "object", value)
            replaces = "replace" in schema.get("x-kubernetes-patch-strategy", "").split(",")
            return self.objects({} if current is None or replaces else current, value, schema)
        if isinstance(value, list):
            if current is not None and not isinstance(current, list):
                raise _invalid(key, "list", value)
            return self._lists(current or [], value, schema, order, removal, key)
        if isinstance(current, dict | list):
            raise _invalid(key, "list" if isinstance(current, list) else "object", value)
        return value

    def _lists(
        self, current: list[Any], patch: list[Any], schema: Schema, order: Any, removal: Any, key: str
    ) -> list[Any]:
        resolved = {**self._schemas.resolve(schema), **schema}
        if "merge" not in resolved.get("x-kubernetes-patch-strategy", "").split(","):
            return [self._plain(entry) for entry in patch]
        items = resolved.get("items") or {}
        merge_key = resolved.get("x-kubernetes-patch-merge-key", "")
        if not merge_key:
            return _merge_primitives(current, patch, order, removal)
        if not all(isinstance(entry, dict) for entry in patch):
            raise _faulty(f"list element types are not identical: {key} is a list of objects")
        if any(entry.get(_PATCH) == "replace" for entry in patch):
            return [self._plain(entry) for entry in patch if _PATCH not in entry]
        deleted = [self._key(entry, merge_key) for entry in patch if entry.get(_PATCH) == "delete"]
        merged = [entry for entry in current if entry.get(merge_key) not in deleted]
        named: list[Any] = []
        for entry in patch:
            if entry.get(_PATCH) == "delete":
                continue
            identity = self._key(entry, merge_key)
            named.append(identity)
            at = next((place for place, old in enumerate(merged) if old.get(merge_key) == identity), None)
            if at is None:
                merged.append(self.objects({}, entry, items))
            else:
                merged[at] = self.objects(merged[at], entry, items)
        wanted = named if order is None else [entry.get(merge_key) for entry in order]
        before = [entry.get(merge_key) for entry in current]
        return _arrange(merged, lambda entry: entry.get(merge_key), wanted, before)

    def _key(self, entry: dict[str, Any], merge_key: str) -> Any:
        if merge_key not in entry:
            raise _faulty(f"map: {_as_go(entry)} does not contain declared merge key: {merge_key}")
        return entry[merge_key]

    def _plain(self, value: Any) -> Any:
        """Strip directives from what is taken over whole."""
        if isinstance(value, dict):
            return self.objects({}, value, {})
        return [self._plain(entry) for entry in value] if isinstance(value, list) else value


def _merge_primitives(current: list[Any], patch: list[Any], order: Any, removal: Any) -> list[Any]:
    merged = [entry for entry in current if entry not in (removal or ())]
    merged += [entry for entry in dict.fromkeys(patch) if entry not in merged]
    return _arrange(merged, lambda entry: entry, patch if order is None else order, current)


def _arrange(merged: list[Any], key: Any, wanted: list[Any], before: list[Any]) -> list[Any]:
    """Put the entries that a patch names in its order, and weave the others in by the places that both had before."""
    named = sorted((entry for entry in merged if key(entry) in wanted), key=lambda entry: wanted.index(key(entry)))
    others = [entry for entry in merged if key(entry) not in wanted]
    others.sort(key=lambda entry: before.index(key(entry)) if key(entry) in before else len(before))
    result: list[Any] = []
    while named and others:
        left, right = key(others[0]), key(named[0])
        first = left in before and right in before and before.index(left) < before.index(right)
        result.append((others if first else named).pop(0))
    return [*result, *named, *others]


def _faulty(detail: str) -> PatchError:
    # The real server takes it for a fault of its own.
    return PatchError(500, "", detail)


def _as_go(value: Any) -> str:
    """Print a value as Go's %v does, which is what the message has."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_as_go(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_as_go(entry) for entry in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _invalid(key: str, wanted: str, value: Any) -> PatchError:
    return PatchError(422, "Invalid", f' "" is invalid: patch: Invalid value: {value!r}: {key} is a {wanted}')
