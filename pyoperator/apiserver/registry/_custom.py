"""One served version of a custom resource: everything it does follows from its CRD."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry._builtin_decode import TypedDecoder
from pyoperator.apiserver.registry._builtin_schemas import builtin_schemas
from pyoperator.apiserver.registry._discovery import version_rank
from pyoperator.apiserver.registry._jsonpath import first_text
from pyoperator.apiserver.registry._kind import Kind, Object
from pyoperator.objects import GroupVersionKind
from pyoperator.schema import FieldError, apply_defaults, prune, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


@dataclass(frozen=True, eq=False, kw_only=True)
class CustomKind(Kind):
    """Prune, default and check by the structural schema of the version.

    ``schemas`` are those of all versions, by name: an object is stored by the rules of the storage version, and read by those of
    the version in which it was stored. ``unchanged`` says that the CRD's spec is the one it was created with, so that what is stored in this version needs
    no pruning or defaulting on the way out.
    """

    structural: Object = field(default_factory=dict)
    schemas: Mapping[str, Object] = field(default_factory=dict)
    printer_columns: tuple[Object, ...] = ()
    preserve_unknown: bool = False
    unchanged: bool = False

    @property
    def schema(self) -> Object | None:
        return self.structural

    @property
    def reads_as_stored(self) -> bool:
        # With several versions it may have been written in another, and lack the defaults of the one in which it is stored.
        return self.unchanged and self.storage_version == self.gvk.version and len(self.schemas) == 1

    def decode(self, obj: Object) -> Object:
        self._metadata(obj)
        if not self.preserve_unknown:
            prune(self.structural, obj)
        whole: Object = _whole(obj)
        return whole

    def _metadata(self, obj: Object) -> None:
        metadata = obj.get("metadata")
        if metadata is None:
            obj["metadata"] = {}
            return
        decoder = TypedDecoder(builtin_schemas())
        obj["metadata"] = decoder.decode(_OBJECT_META, metadata)

    def default(self, obj: Object) -> None:
        apply_defaults(_body(self.structural), obj)

    def validate(self, obj: Object, old: Object | None) -> list[FieldError]:
        faults = validate(self.structural, obj) if old is None else validate(self.structural, obj, old=old)
        return faults + self._replicas(obj)

    def _replicas(self, obj: Object) -> list[FieldError]:
        if self.scale_paths is None:
            return []
        faults: list[FieldError] = []
        for path in self.scale_paths[:2]:
            value, fault = _replica_count(path, obj)
            if fault:
                faults.append(FieldError.invalid(path, 0, f"{path} accessor error: {fault}"))
            elif value < 0:
                faults.append(FieldError.invalid(path, value, "should be a non-negative integer"))
        return faults

    def unknown_fields(self, obj: Object) -> list[str]:
        if self.preserve_unknown:
            return []
        found: list[str] = []
        prune(self.structural, _copy(obj), pruned=found)
        return [f'unknown field "{path}"' for path in sorted(found)]

    def to_storage(self, obj: Object) -> Object:
        if self.gvk.version == self.storage_version:
            return obj
        stored: Object = _copy(obj)
        stored["apiVersion"] = f"{self.gvk.group}/{self.storage_version}"
        if not self.preserve_unknown:
            prune(self.schemas.get(self.storage_version, {}), stored)
        return stored

    def from_storage(self, obj: Object) -> Object:
        if self.reads_as_stored:
            return obj
        view: Object = _copy(obj)
        _, _, stored_in = str(view.get("apiVersion", "")).rpartition("/")
        schema = self.schemas.get(stored_in, self.structural)
        if not self.preserve_unknown:
            prune(schema, view)
        apply_defaults(_body(schema), view)
        if stored_in != self.gvk.version:
            view["apiVersion"] = self.gvk.api_version
            if not self.preserve_unknown:
                prune(self.structural, view)
        return view


def _body(schema: Object) -> Object:
    """Return a schema without the parts that are typed in every kind: no default reaches into them."""
    properties = {
        name: entry
        for name, entry in schema.get("properties", {}).items()
        if name not in ("apiVersion", "kind", "metadata")
    }
    return {**schema, "properties": properties}


_GO_TYPES = {str: "string", bool: "bool", float: "float64", list: "[]interface {}", dict: "map[string]interface {}"}


def _replica_count(path: str, obj: Object) -> tuple[int, str]:
    """Return the number at a scale path (0 when nothing is there), and what keeps it from being read."""
    value: Any = obj
    for name in path.strip(".").split("."):
        if not isinstance(value, dict):
            return 0, f"{_as_go(value)} is of the type {_go_type(value)}, expected map[string]interface{{}}"
        if value.get(name) is None:
            return 0, ""
        value = value[name]
    if isinstance(value, int) and not isinstance(value, bool):
        return value, ""
    return 0, f"{_as_go(value)} is of the type {_go_type(value)}, expected int64"


def _go_type(value: Any) -> str:
    return _GO_TYPES.get(type(value), "int64")


def _as_go(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_as_go(entry) for entry in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_as_go(value[key])}" for key in sorted(value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def custom_kinds(crd: Object) -> list[CustomKind]:
    """Return a kind per served version of an accepted CRD, the storage version's rules in each."""
    spec = crd["spec"]
    names = spec["names"]
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    best = min(
        (version["name"] for version in spec["versions"] if version.get("served") and not version.get("deprecated")),
        key=version_rank,
        default="",
    )
    unchanged = crd.get("metadata", {}).get("generation", 1) == 1
    schemas = {
        version["name"]: (version.get("schema") or {}).get("openAPIV3Schema") or {} for version in spec["versions"]
    }
    return [
        _custom_kind(spec, names, version, stored, unchanged, best, schemas)
        for version in spec["versions"]
        if version.get("served")
    ]


def _custom_kind(
    spec: Object,
    names: Object,
    version: Object,
    stored: str,
    unchanged: bool,
    best: str,
    schemas: Mapping[str, Object],
) -> CustomKind:
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale")
    kind = names["kind"]
    gvk = GroupVersionKind(spec["group"], version["name"], kind)
    warning = version.get("deprecationWarning") or f"{gvk.api_version} {kind} is deprecated" + (
        f"; use {gvk.group}/{best} {kind}" if best else ""
    )
    return CustomKind(
        gvk=gvk,
        plural=names["plural"],
        singular=names.get("singular") or kind.lower(),
        list_kind=names.get("listKind") or f"{kind}List",
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(name for name in ("status", "scale") if name in subresources),
        update_requires_version=True,
        has_generation=True,
        selectable_fields={
            entry["jsonPath"].lstrip("."): _reader(entry["jsonPath"]) for entry in version.get("selectableFields") or ()
        },
        storage=(spec["group"], names["plural"]),
        storage_version=stored,
        scale_paths=_scale_paths(scale) if scale else None,
        custom=True,
        structural=schemas[version["name"]],
        schemas=schemas,
        printer_columns=tuple(version.get("additionalPrinterColumns") or ()),
        preserve_unknown=bool(spec.get("preserveUnknownFields")),
        unchanged=unchanged,
        deprecation_warning=warning if version.get("deprecated") else "",
    )


def _reader(path: str) -> Callable[[Object], str]:
    return lambda obj: first_text(path, obj)


def _scale_paths(scale: Object) -> tuple[str, str, str]:
    return scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", "")


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_copy(entry) for entry in value]
    return value


def _whole(value: Any) -> Any:
    """Write 2.0 as 2: the server's encoder does, so an integer field takes it."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if isinstance(entry, dict | list | float):
                value[key] = _whole(entry)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            if isinstance(entry, dict | list | float):
                value[index] = _whole(entry)
    elif isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
