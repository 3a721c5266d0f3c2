"""The shapes that an object at hand can have, and how the machinery reads and writes metadata in each of them.

Four are known: a dict, a :class:`CustomResource`, a :class:`Metadata` (to read), and any class with ``metadata`` whose fields are
attributes, named in snake_case or camelCase: models of kubernetes_asyncio and lightkube, dataclasses, msgspec Structs. None of
those libraries is imported here.

What is written is never edited in place: ``metadata`` and the list in it are replaced. So a shallow copy (``model_copy()``,
``dict(obj)``, ``copy.copy``) stays apart from the object that it was made of, which may be the "before" of a patch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

import msgspec

from pyoperator.objects._kinds import GroupVersionKind
from pyoperator.objects._metadata import Metadata, OwnerReference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FIELDS: Final = tuple((field.name, field.encode_name) for field in msgspec.structs.fields(Metadata))
_OWNER_FIELDS: Final = tuple((field.name, field.encode_name) for field in msgspec.structs.fields(OwnerReference))
_MISSING: Final = object()


def metadata_of(obj: Any) -> Metadata:
    """Return the metadata of an object of any shape; raises TypeError for what has none."""
    if isinstance(obj, Metadata):
        return obj
    if isinstance(obj, dict):
        raw: Mapping[str, Any] = obj.get("metadata") or {}
        return msgspec.convert({name: value for name, value in raw.items() if value is not None}, Metadata)
    metadata = getattr(obj, "metadata", _MISSING)
    if metadata is _MISSING:
        raise TypeError(_no_object(obj))
    if isinstance(metadata, Metadata):
        return metadata
    if metadata is None:
        return Metadata()
    if isinstance(metadata, Mapping):
        return metadata_of({"metadata": metadata})
    snapshot = getattr(metadata, "snapshot", None)
    if snapshot is not None:
        return snapshot()  # type: ignore[no-any-return]
    found = _attributes(metadata, _FIELDS)
    if "ownerReferences" in found:
        found["ownerReferences"] = [_attributes(owner, _OWNER_FIELDS) for owner in found["ownerReferences"]]
    for name in ("creationTimestamp", "deletionTimestamp"):
        if isinstance(found.get(name), datetime):
            found[name] = found[name].isoformat().replace("+00:00", "Z")
    return msgspec.convert(found, Metadata)


def kind_of(obj: Any) -> GroupVersionKind:
    """Return what an object says of its kind; raises TypeError if it is none, ValueError if it does not say."""
    found = getattr(obj, "gvk", None)
    if isinstance(found, GroupVersionKind) and found.kind:
        return found
    if isinstance(obj, dict):
        api_version, kind = obj.get("apiVersion"), obj.get("kind")
    elif hasattr(obj, "metadata"):
        api_version, kind = _attribute(obj, "api_version", "apiVersion"), _attribute(obj, "kind", "kind")
    else:
        raise TypeError(_no_object(obj))
    if not api_version or not kind:
        raise ValueError(
            f"this {type(obj).__name__} does not say its apiVersion and kind (items of a list do not): set both first"
        )
    return GroupVersionKind.of(str(api_version), str(kind))


def replace_finalizers(obj: Any, finalizers: Sequence[str]) -> None:
    """Give the object these finalizers in memory; raises TypeError for what can't be written to."""
    _replace(obj, "finalizers", "finalizers", [*finalizers])


def put_owner_reference(obj: Any, owner: OwnerReference) -> None:
    """Add an owner to the object in memory, or put it in the place of the one of its uid.

    The other entries stay as they are, in their order: a patch would else change, in turns, what nobody changed. Raises
    TypeError for what can't be written to.
    """
    entries = [*(_field(obj, "owner_references", "ownerReferences") or ())]
    for index, entry in enumerate(entries):
        found = msgspec.convert(_attributes(entry, _OWNER_FIELDS), OwnerReference)
        if found.uid == owner.uid:
            if found == owner:
                return
            entries[index] = _as_theirs(obj, owner)
            break
    else:
        entries.append(_as_theirs(obj, owner))
    _replace(obj, "owner_references", "ownerReferences", entries)


def _field(obj: Any, name: str, wire_name: str) -> Any:
    metadata = obj.get("metadata") if isinstance(obj, dict) else getattr(obj, "metadata", None)
    if isinstance(metadata, Mapping):
        return metadata.get(wire_name)
    return _attribute(metadata, name, wire_name)


def _replace(obj: Any, name: str, wire_name: str, value: Any) -> None:
    """Put a copy of the metadata with another value in one field in the place of the object's metadata."""
    if isinstance(obj, dict):
        obj["metadata"] = {**(obj.get("metadata") or {}), wire_name: value}
        return
    metadata = getattr(obj, "metadata", _MISSING)
    if metadata is _MISSING or isinstance(metadata, Metadata):
        raise TypeError(_no_object(obj) if metadata is _MISSING else f"a {type(obj).__name__} can only be read")
    if isinstance(metadata, dict):
        obj.metadata = {**metadata, wire_name: value}
    elif hasattr(metadata, "model_copy"):  # pydantic: only by this, or by assignment, does a field count as set
        obj.metadata = metadata.model_copy(update={name: value})
    else:
        replaced = _class_of(obj, "metadata", "metadata")() if metadata is None else copy.copy(metadata)
        setattr(replaced, name if hasattr(replaced, name) else wire_name, value)
        obj.metadata = replaced


def _as_theirs(obj: Any, owner: OwnerReference) -> Any:
    """Return an owner reference of the class that the object's library has for it; as a dict where objects are dicts."""
    document = _document(owner)
    metadata = None if isinstance(obj, dict) else getattr(obj, "metadata", None)
    if isinstance(obj, dict) or isinstance(metadata, Mapping):
        return document
    if metadata is None:
        metadata = _class_of(obj, "metadata", "metadata")()
    theirs = _class_of(metadata, "owner_references", "ownerReferences")
    if hasattr(theirs, "model_validate"):
        return theirs.model_validate(document)
    snake = hasattr(metadata, "owner_references")
    return theirs(
        **{
            name: document[wire]
            for attribute, wire in _OWNER_FIELDS
            if wire in document
            for name in [attribute if snake else wire]
        }
    )


def _class_of(holder: Any, name: str, wire_name: str) -> Any:
    holder_class: type = type(holder)
    return _class_of_field(holder_class, name if hasattr(holder, name) else wire_name)


@cache
def _class_of_field(holder: type, name: str) -> Any:
    """Return the class of a field's value, or of its items, from what the holder's class says of its fields."""
    types: Mapping[str, Any] = getattr(holder, "openapi_types", None) or {}
    if name in types:  # generated from an OpenAPI document: all models stand in one package
        text = str(types[name]).removeprefix("list[").removesuffix("]")
        return getattr(import_module(holder.__module__.rpartition(".")[0]), text)
    waiting = [get_type_hints(holder).get(name)]
    while waiting:
        found = waiting.pop()
        if isinstance(found, type) and not get_args(found) and found is not type(None):
            return found
        waiting += get_args(found)
    raise TypeError(f"{holder.__name__}.{name} has no type that tells what to put there: set it yourself first")


def _document(owner: OwnerReference) -> dict[str, Any]:
    found: dict[str, Any] = {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
    }
    if owner.controller:
        found["controller"] = True
    if owner.block_owner_deletion:
        found["blockOwnerDeletion"] = True
    return found


def _attributes(holder: Any, fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    if isinstance(holder, Mapping):
        return {wire: holder[wire] for _, wire in fields if holder.get(wire) is not None}
    found = {wire: _attribute(holder, name, wire) for name, wire in fields}
    return {wire: value for wire, value in found.items() if value is not None}


def _attribute(holder: Any, name: str, wire_name: str) -> Any:
    value = getattr(holder, name, None)
    return getattr(holder, wire_name, None) if value is None else value


def _no_object(obj: Any) -> str:
    what = f"the class {obj.__name__}" if isinstance(obj, type) else f"a {type(obj).__name__}"
    return f"{what} is no Kubernetes object: an object is a dict, a CustomResource, or has metadata as an attribute"
