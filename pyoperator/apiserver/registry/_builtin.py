"""A kind that comes with the server: its row of facts, its schema, and its rules as plain functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry._builtin_decode import TypedDecoder
from pyoperator.apiserver.registry._builtin_schemas import builtin_schemas
from pyoperator.apiserver.registry._event_views import core_to_events, events_to_core
from pyoperator.apiserver.registry._kind import ALL_VERBS, Kind, Object, WriteContext
from pyoperator.apiserver.registry.kinds import RULES, Rules
from pyoperator.objects import GroupVersionKind

if TYPE_CHECKING:
    from pyoperator.apiserver.registry._kind_table import Row
    from pyoperator.schema import FieldError


@dataclass(frozen=True, eq=False, kw_only=True)
class BuiltinKind(Kind):
    """Decode by the typed schema, then let the kind's rules default, complete and check."""

    rules: Rules = field(default_factory=Rules)

    @property
    def definition(self) -> str:
        """The name of the kind's definition in the table of built-in schemas."""
        return builtin_schemas().kinds["/".join(self.gvk)]

    @property
    def schema(self) -> Object | None:
        return builtin_schemas().definitions[self.definition]

    @property
    def reads_as_stored(self) -> bool:
        return self.storage == (self.gvk.group, self.plural)

    def _decoder(self) -> TypedDecoder:
        return TypedDecoder(builtin_schemas())

    def decode(self, obj: Object) -> Object:
        return self._decoder().decode(self.definition, obj)

    def unknown_fields(self, obj: Object) -> list[str]:
        decoder = self._decoder()
        decoder.decode(self.definition, obj)
        return [f'unknown field "{path}"' for path in sorted(decoder.unknown)]

    def default(self, obj: Object) -> None:
        self.rules.default(obj)

    def on_create(self, obj: Object, ctx: WriteContext) -> None:
        self.rules.create(obj, ctx)

    def on_update(self, new: Object, old: Object, ctx: WriteContext) -> None:
        self.rules.update(new, old, ctx)

    def _reset_status(self, obj: Object) -> None:
        if not self.rules.client_sets_status:
            super()._reset_status(obj)

    def _intent(self, obj: Object) -> Object:
        intent = super()._intent(obj)
        if self.gvk.kind == "Deployment":
            # Its controller copies annotations to ReplicaSets: they are work to do as well.
            return {**intent, "annotations": obj.get("metadata", {}).get("annotations") or {}}
        return intent

    def initial_status(self, obj: Object) -> Any:
        return self.rules.status(obj)

    def status_metadata(self, new: Object, old: Object) -> Object:
        # Typed strategies let labels and annotations through with a status; what identifies the object stays.
        kept = super().status_metadata(new, old)
        for key in ("labels", "annotations", "finalizers"):
            if key in new:
                kept[key] = new[key]
            else:
                kept.pop(key, None)
        return kept

    def validate(self, obj: Object, old: Object | None) -> list[FieldError]:
        return self.rules.check(obj, old)

    def to_storage(self, obj: Object) -> Object:
        return obj if self.reads_as_stored else events_to_core(obj)

    def from_storage(self, obj: Object) -> Object:
        return obj if self.reads_as_stored else core_to_events(obj)


def builtin_kind(row: Row, rules: Rules | None = None) -> BuiltinKind:
    """Build the kind of a row, with the rules of its kind or with those given."""
    rules = rules or RULES.get((row.group, row.kind), Rules())
    return BuiltinKind(
        gvk=GroupVersionKind(row.group, row.version, row.kind),
        plural=row.plural,
        singular=row.singular,
        list_kind=f"{row.kind}List",
        namespaced=row.namespaced,
        short_names=tuple(row.short.split()),
        categories=tuple(row.categories.split()),
        verbs=tuple(row.verbs.split()) if row.verbs else ALL_VERBS,
        subresources=frozenset(row.subresources.split()),
        update_requires_version=row.version_needed,
        create_on_update=row.put_creates,
        has_generation=row.generation,
        selectable_fields=rules.selectable,
        # The two kinds of Event are two views of one collection.
        storage=("", "events") if row.plural == "events" else (row.group, row.plural),
        storage_version="v1",
        scale_paths=_SCALE if "scale" in row.subresources.split() else None,
        rules=rules,
        deprecation_warning=_DEPRECATED.get((row.group, row.kind), ""),
    )


_DEPRECATED = {("", "Endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}


_SCALE = (".spec.replicas", ".status.replicas", ".spec.selector")
