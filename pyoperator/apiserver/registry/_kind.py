"""What the server needs to know of a kind to serve it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyoperator.clock import Randomness
    from pyoperator.objects import GroupVersionKind
    from pyoperator.schema import FieldError

Object = dict[str, Any]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


class MalformedObject(ValueError):
    """The body can't be read as this kind at all (a text where a number belongs): 400, where a 422 names bad values.

    The message is the detail alone; the server puts ``Pod in version "v1" cannot be handled as a Pod: `` in front.
    """


@dataclass(frozen=True, slots=True)
class WriteContext:
    """What a write may depend on besides the objects: the time (Unix seconds), chance, and what is taken already.

    ``taken(address)`` tells whether a cluster IP or node port (as text) is in use; without it nothing is.
    """

    now: float
    random: Randomness
    taken: Callable[[str], bool] = field(default=lambda address: False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Kind:
    """One served version of a kind: its names, its rules for writes, and how it is decoded, defaulted and checked.

    The three ``prepare_*`` functions take an object as a client sent it (metadata that the server owns, such as uid and
    timestamps, is the pipeline's business) and return the object to store, after which ``validate`` names its faults.
    They may change and return the dict that they are given. ``storage`` is (group, plural) of the collection where
    objects live: two kinds with the same one are views of one store.
    """

    gvk: GroupVersionKind
    plural: str
    singular: str
    list_kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: frozenset[str] = frozenset()
    update_requires_version: bool = False
    create_on_update: bool = False
    has_generation: bool = False
    selectable_fields: Mapping[str, Callable[[Object], str]] = field(default_factory=dict)
    storage: tuple[str, str] = ("", "")
    storage_version: str = ""
    scale_paths: tuple[str, str, str] | None = None
    custom: bool = False
    deprecation_warning: str = ""

    def __post_init__(self) -> None:
        if self.storage == ("", ""):
            object.__setattr__(self, "storage", (self.gvk.group, self.plural))
        if not self.storage_version:
            object.__setattr__(self, "storage_version", self.gvk.version)

    # What a sort of kind brings: overridden by BuiltinKind and CustomKind.

    @property
    def schema(self) -> Object | None:
        """The structural schema of a custom resource; of a built-in kind, its definition with references."""
        return None

    @property
    def reads_as_stored(self) -> bool:
        """Whether ``from_storage`` changes nothing, so that stored bytes can be served as they are."""
        return True

    def decode(self, obj: Object) -> Object:
        """Return the object as this kind understands it (unknown fields gone); raises MalformedObject."""
        return obj

    def default(self, obj: Object) -> None:
        """Fill in what the client left out."""

    def on_create(self, obj: Object, ctx: WriteContext) -> None:
        """Set what only the server decides at creation, after defaulting."""

    def on_update(self, new: Object, old: Object, ctx: WriteContext) -> None:
        """Carry over what an update may leave out, before defaulting."""

    def initial_status(self, obj: Object) -> Any:
        """Return the status of a new object; None for none."""
        return None

    def validate(self, obj: Object, old: Object | None) -> list[FieldError]:
        """Return the object's faults; ``old`` is the stored object on an update."""
        return []

    def unknown_fields(self, obj: Object) -> list[str]:
        """Return ``unknown field "spec.foo"`` for every field that storing would drop."""
        return []

    def to_storage(self, obj: Object) -> Object:
        """Return the object in the version that is stored."""
        return obj

    def from_storage(self, obj: Object) -> Object:
        """Return a stored object in this version, pruned and defaulted by today's schema."""
        return obj

    # What all kinds share.

    def prepare_create(self, obj: Object, ctx: WriteContext) -> Object:
        """Decode, default and complete a new object; the client's status is dropped where status is a subresource."""
        obj = self._identify(self.decode(obj))
        metadata = obj.setdefault("metadata", {})
        metadata.pop("generation", None)
        if self.has_generation:
            metadata["generation"] = 1
        if "status" in self.subresources:
            self._reset_status(obj)
        self.default(obj)
        self.on_create(obj, ctx)
        return obj

    def prepare_update(self, new: Object, old: Object, ctx: WriteContext) -> Object:
        """Decode, complete and default a changed object; status stays the old one where status is a subresource."""
        new = self._identify(self.decode(new))
        if "status" in self.subresources:
            new.pop("status", None)
            if "status" in old:
                new["status"] = copy.deepcopy(old["status"])
        self.on_update(new, old, ctx)
        self.default(new)
        self._count_generation(new, old)
        return new

    def prepare_status_update(self, new: Object, old: Object, ctx: WriteContext) -> Object:
        """Take the status from ``new`` and everything else from ``old``."""
        decoded = self._identify(self.decode(new))
        result = {key: copy.deepcopy(value) for key, value in old.items() if key != "status"}
        result["metadata"] = self.status_metadata(decoded.get("metadata", {}), result.get("metadata", {}))
        if "status" in decoded:
            result["status"] = decoded["status"]
        self.default(result)
        return result

    def status_metadata(self, new: Object, old: Object) -> Object:
        """Return the metadata that a write to /status leaves: the old, with the precondition and the field managers."""
        kept = dict(old)
        for key in ("resourceVersion", "managedFields"):
            if key in new:
                kept[key] = new[key]
            else:
                kept.pop(key, None)
        return kept

    def _reset_status(self, obj: Object) -> None:
        obj.pop("status", None)
        status = self.initial_status(obj)
        if status is not None:
            obj["status"] = status

    def _identify(self, obj: Object) -> Object:
        obj["apiVersion"] = self.gvk.api_version
        obj["kind"] = self.gvk.kind
        return obj

    def _count_generation(self, new: Object, old: Object) -> None:
        metadata = new.setdefault("metadata", {})
        metadata.pop("generation", None)
        if not self.has_generation:
            return
        generation = old.get("metadata", {}).get("generation", 1)
        metadata["generation"] = generation + (self._intent(new) != self._intent(old))

    def _intent(self, obj: Object) -> Object:
        """Return the part whose change counts as a new generation."""
        ignored = {"apiVersion", "kind", "metadata"}
        if "status" in self.subresources:
            ignored.add("status")
        return {key: value for key, value in obj.items() if key not in ignored}

    def __repr__(self) -> str:
        return f"Kind({self.gvk}, {self.plural}, {'namespaced' if self.namespaced else 'cluster'})"
