"""The kinds that a server serves right now: the built-in ones and those of its CRDs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry._builtin import builtin_kind
from pyoperator.apiserver.registry._crd import crd_rules, crd_warnings, is_established
from pyoperator.apiserver.registry._custom import custom_kinds
from pyoperator.apiserver.registry._discovery import Discovery
from pyoperator.apiserver.registry._kind_table import ROWS
from pyoperator.apiserver.registry._openapi import OpenAPI
from pyoperator.apiserver.registry._tables import make_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyoperator.apiserver.registry._kind import Kind, Object
    from pyoperator.objects import GroupVersionKind


class Registry:
    """Look kinds up by URL or by GVK; install and remove CRDs; describe it all to clients.

    Not thread-safe: belongs to one server. ``version`` counts the changes of what is served.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self._by_gvk: dict[GroupVersionKind, Kind] = {}
        self._crds: dict[str, Object] = {}
        self._custom: dict[str, list[Kind]] = {}
        self.version: int = 0
        for row in ROWS:
            # Whether a CRD's names are free depends on what else is served here.
            rules = crd_rules(self.name_conflict) if row.kind == "CustomResourceDefinition" else None
            self._add(builtin_kind(row, rules))
        self._builtin = tuple(self._kinds.values())
        self._discovery = Discovery()
        self._openapi = OpenAPI()

    def lookup(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind served at /apis/group/version/plural."""
        return self._kinds.get((group, version, plural))

    def by_gvk(self, gvk: GroupVersionKind) -> Kind | None:
        return self._by_gvk.get(gvk)

    def kinds(self) -> list[Kind]:
        """Return all served kinds: built-in ones first, then those of CRDs in order of installation."""
        return list(self._kinds.values())

    def crds(self) -> list[Object]:
        """Return the installed CRDs."""
        return list(self._crds.values())

    def install_crd(self, crd: Object) -> list[Kind]:
        """Serve the versions of a CRD (new or changed); return their kinds, none if its names were not accepted."""
        name = crd["metadata"]["name"]
        self._withdraw(name)
        kinds: list[Kind] = [*custom_kinds(crd)] if is_established(crd) else []
        self._crds[name] = crd
        self._custom[name] = kinds
        for kind in kinds:
            self._add(kind)
        self._changed()
        return kinds

    def remove_crd(self, name: str) -> list[Kind]:
        """Stop serving a CRD's kinds; return them. Their objects are the caller's business."""
        kinds = self._withdraw(name)
        self._crds.pop(name, None)
        self._changed()
        return kinds

    def warnings_for_crd(self, crd: Object) -> list[str]:
        """Return what the author of a CRD should hear at its creation: parts that are stored but have no effect."""
        return crd_warnings(crd)

    def name_conflict(self, crd: Object) -> tuple[str, str] | None:
        """Return (reason, name) of the first name of a CRD that another kind of its group has already, if any."""
        spec, name = crd["spec"], crd["metadata"].get("name", "")
        names = spec["names"]
        others = [kind for kind in self._builtin if kind.gvk.group == spec["group"]]
        others += [
            kind
            for owner, kinds in self._custom.items()
            for kind in kinds
            if owner != name and kind.gvk.group == spec["group"]
        ]
        resources = {text for kind in others for text in (kind.plural, kind.singular, *kind.short_names)}
        kinds = {text for kind in others for text in (kind.gvk.kind, kind.list_kind)}
        wanted = [
            ("PluralConflict", names["plural"], resources),
            ("SingularConflict", names.get("singular"), resources),
        ]
        wanted += [("ShortNamesConflict", text, resources) for text in names.get("shortNames") or ()]
        wanted += [("KindConflict", names["kind"], kinds), ("ListKindConflict", names.get("listKind"), kinds)]
        # The last one found is the one that the server reports.
        return next(((reason, text) for reason, text, taken in reversed(wanted) if text and text in taken), None)

    def discovery(
        self, path: str, accept: str = "", query: Sequence[tuple[str, str]] = ()
    ) -> tuple[str, Object] | None:
        """Answer /api, /apis, /api/v1, /apis/GROUP and /apis/GROUP/VERSION: (content type, document), None elsewhere."""
        return self._discovery.answer(path, accept, self.kinds(), self.version)

    def openapi(
        self, path: str, accept: str = "", query: Sequence[tuple[str, str]] = ()
    ) -> tuple[int, str, bytes, Mapping[str, str]] | None:
        """Answer below /openapi: (status, content type, body, headers), None elsewhere."""
        return self._openapi.answer(path, accept, query, self.kinds(), self.version)

    def table(
        self,
        kind: Kind,
        objects: Sequence[Object],
        *,
        list_meta: Object | None = None,
        include_object: str = "Metadata",
        now: float,
    ) -> Object:
        """Render objects as a ``meta.k8s.io/v1`` Table; ``include_object``: None, Metadata or Object."""
        return make_table(kind, objects, list_meta=list_meta, include_object=include_object, now=now)

    def unknown_fields(self, kind: Kind, obj: Object) -> list[str]:
        """Return ``unknown field "spec.foo"`` for every field that storing would drop."""
        return kind.unknown_fields(obj)

    def to_storage(self, kind: Kind, obj: Object) -> Object:
        return kind.to_storage(obj)

    def from_storage(self, kind: Kind, obj: Object) -> Object:
        return kind.from_storage(obj)

    def _add(self, kind: Kind) -> None:
        self._kinds[kind.gvk.group, kind.gvk.version, kind.plural] = kind
        self._by_gvk[kind.gvk] = kind

    def _withdraw(self, name: str) -> list[Kind]:
        kinds = self._custom.pop(name, [])
        for kind in kinds:
            self._kinds.pop((kind.gvk.group, kind.gvk.version, kind.plural), None)
            self._by_gvk.pop(kind.gvk, None)
        return kinds

    def _changed(self) -> None:
        self.version += 1

    def __repr__(self) -> str:
        return f"Registry({len(self._kinds)} kinds, {len(self._crds)} CRDs)"

    def __contains__(self, key: Any) -> bool:
        return key in self._kinds or key in self._by_gvk
