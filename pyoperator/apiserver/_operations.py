"""Create, update and find objects: the order of checks of the real server, on dicts, without HTTP and users' rights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver._caller import Caller
from pyoperator.apiserver._deletion import DeleteOptions, plan_deletion
from pyoperator.apiserver._metadata_rules import generated_name, validate_metadata, validate_metadata_update
from pyoperator.apiserver._namespace_rules import check_namespace, check_namespace_deletion
from pyoperator.apiserver._object_shape import check_envelope, check_metadata_types, malformed, settle_metadata
from pyoperator.apiserver.registry import MalformedObject, WriteContext
from pyoperator.apiserver.storage import StoredObject
from pyoperator.objects import GroupVersionKind, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyoperator.apiserver.registry import Kind, Registry
    from pyoperator.apiserver.storage import Store
    from pyoperator.clock import Clock, Randomness

__all__ = ["Caller", "DeleteOptions", "Operations", "WriteOptions"]

_NAMESPACES = "namespaces"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    caller: Caller = field(default_factory=Caller)
    dry_run: bool = False
    field_manager: str = ""
    # Asked with (new, old or None) before validation: may refuse what the object would do (RBAC escalation).
    check: Callable[[dict[str, Any], dict[str, Any] | None], None] | None = None


class Operations:
    """Object operations over one store.

    Inputs are dicts that may be changed; results are StoredObjects (of a dry run: one that was not stored). Nothing
    awaits, so each operation is a transaction. Raises StatusError.
    """

    def __init__(self, store: Store, registry: Registry, *, clock: Clock, random: Randomness) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._random = random

    # Reading

    @property
    def revision(self) -> int:
        return self._store.revision

    def resource(self, kind: Kind) -> str:
        """Return the name of the collection that holds this kind's objects."""
        group, plural = kind.storage
        return _status.qualified(group, plural)

    def find(self, kind: Kind, namespace: str, name: str) -> StoredObject | None:
        return self._store.get(self.resource(kind), namespace if kind.namespaced else "", name)

    def get(self, kind: Kind, namespace: str, name: str) -> StoredObject:
        stored = self.find(kind, namespace, name)
        if stored is None:
            raise _status.not_found(kind.gvk.group, kind.plural, name)
        return stored

    def stored(self, kind: Kind, namespace: str = "") -> list[StoredObject]:
        return self._store.objects(self.resource(kind), namespace if kind.namespaced else "")

    def view(self, kind: Kind, stored: StoredObject) -> dict[str, Any]:
        """Return a fresh dict of the object in the version of ``kind``."""
        obj = stored.decode()
        return obj if self.is_verbatim(kind, stored) else kind.from_storage(obj)

    def is_verbatim(self, kind: Kind, stored: StoredObject) -> bool:
        """Tell whether the stored bytes are this kind's JSON as they are."""
        return stored.gvk == kind.gvk and kind.reads_as_stored

    # Writing

    def create(self, kind: Kind, namespace: str, obj: dict[str, Any], options: WriteOptions) -> StoredObject:
        """Add a new object; ``namespace`` is that of the URL (empty for a cluster-scoped kind)."""
        check_envelope(kind, obj)
        metadata = check_metadata_types(kind, obj)
        settle_metadata(metadata)
        _settle_namespace(kind, metadata, namespace)
        if metadata.get("resourceVersion") not in {None, "", "0"} and not options.dry_run:  # it is the store that minds
            raise _status.StatusError(500, "", "resourceVersion should not be set on objects to be created")
        for owned in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            metadata.pop(owned, None)
        metadata.pop("managedFields", None)
        metadata.pop("resourceVersion", None)
        named = metadata.get("name") or ""
        check_namespace(self._store, kind, namespace, named)
        if not named and metadata.get("generateName"):
            metadata["name"] = self._generate(kind, namespace, metadata["generateName"])
        # Before the kind's own rules: a Job's labels carry its uid.
        uid, created = self._random.uuid(), format_time(self._clock.wall())
        metadata["uid"], metadata["creationTimestamp"] = uid, created
        obj = self._prepared(lambda: kind.prepare_create(obj, self._context()), kind)
        metadata = obj["metadata"]
        metadata["uid"], metadata["creationTimestamp"] = uid, created
        if options.check is not None:
            options.check(obj, None)
        _raise_faults(kind, metadata.get("name", ""), [*validate_metadata(kind, metadata), *kind.validate(obj, None)])
        existing = self.find(kind, namespace, metadata["name"])
        if existing is not None:
            raise _status.already_exists(
                kind.gvk.group,
                kind.plural,
                metadata["name"],
                terminating=bool(existing.decode()["metadata"].get("deletionTimestamp")),
            )
        return self._keep(kind, obj, None, dry_run=options.dry_run)

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        obj: dict[str, Any],
        options: WriteOptions,
        *,
        subresource: str = "",
    ) -> tuple[StoredObject, bool]:
        """Replace an object, or one of its subresources; returns it and whether it was created.

        ``subresource`` is "", "status", or "finalize" (of a Namespace). Returns the unchanged object, at its old
        version, when nothing differs.
        """
        check_envelope(kind, obj)
        metadata = check_metadata_types(kind, obj)
        settle_metadata(metadata)
        _settle_namespace(kind, metadata, namespace)
        if not metadata.get("name"):
            raise _status.bad_request(
                f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )
        if metadata["name"] != name:
            raise _status.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        current = self.find(kind, namespace, name)
        if current is None:
            if kind.create_on_update and not subresource:
                metadata.pop("resourceVersion", None)
                return self.create(kind, namespace, obj, options), True
            raise _status.not_found(kind.gvk.group, kind.plural, name)
        return self._replace(kind, current, obj, options, subresource), False

    def modify(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        options: WriteOptions,
        *,
        subresource: str = "",
    ) -> StoredObject:
        """Apply ``change`` to the current object (as a patch does) and store the result."""
        current = self.get(kind, namespace, name)
        obj = change(self.view(kind, current))
        check_envelope(kind, obj)
        metadata = check_metadata_types(kind, obj)
        settle_metadata(metadata)
        if metadata.get("name") != name:
            raise _status.bad_request(
                f"the name of the object ({metadata.get('name', '')}) does not match the name on the URL ({name})"
            )
        _settle_namespace(kind, metadata, namespace)
        return self._replace(kind, current, obj, options, subresource, patched=True)

    def _replace(
        self,
        kind: Kind,
        current: StoredObject,
        new: dict[str, Any],
        options: WriteOptions,
        subresource: str,
        *,
        patched: bool = False,
    ) -> StoredObject:
        old = self.view(kind, current)
        metadata, old_metadata = new["metadata"], old["metadata"]
        self._check_preconditions(kind, current, metadata, uid="" if patched else metadata.get("uid") or "")
        for kept in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
            if kept in old_metadata:
                # A uid that the client sent stays, for validation to refuse; the others are the server's alone.
                if kept != "uid" or not metadata.get(kept):
                    metadata[kept] = old_metadata[kept]
            else:
                metadata.pop(kept, None)
        metadata.pop("managedFields", None)
        metadata.pop("selfLink", None)
        metadata["resourceVersion"] = old_metadata["resourceVersion"]
        context = self._context()
        if subresource == "status":
            new = self._prepared(lambda: kind.prepare_status_update(new, old, context), kind)
        elif subresource == "finalize":
            new = _with_finalizers_of(new, old)
        else:
            new = self._prepared(lambda: kind.prepare_update(new, old, context), kind)
        metadata = new["metadata"]
        if options.check is not None:
            options.check(new, old)
        faults = validate_metadata_update(kind, metadata, old_metadata)
        if subresource != "finalize":
            faults += kind.validate(new, old)
        _raise_faults(kind, current.name, faults)
        if self._is_finished(kind, new):
            # Watchers see the last state that was stored; the writer sees what it wrote.
            self.remove(kind, current, old, dry_run=options.dry_run)
            return self._draft(current.resource, self._to_storage(kind, new), current.revision)
        return self._keep(kind, new, current, dry_run=options.dry_run)

    def _check_preconditions(self, kind: Kind, current: StoredObject, metadata: dict[str, Any], *, uid: str) -> None:
        version = metadata.get("resourceVersion") or ""
        if version in {"", "0"}:
            if kind.update_requires_version:
                raise _status.invalid(
                    kind.gvk.group,
                    kind.plural,
                    current.name,
                    [
                        _Fault(
                            "metadata.resourceVersion",
                            "FieldValueInvalid",
                            "Invalid value: 0: must be specified for an update",
                        )
                    ],
                )
        elif not version.isdigit():
            raise _status.StatusError(500, "", f'strconv.ParseUint: parsing "{version}": invalid syntax')
        if uid and uid != current.uid:
            namespaced = f"{current.namespace}/" if current.namespace else ""
            raise _status.conflict(
                kind.gvk.group,
                kind.plural,
                current.name,
                "StorageError: invalid object, Code: 4, Key: "
                f"/registry/{current.resource.partition('.')[0]}/{namespaced}{current.name}, ResourceVersion: 0, "
                f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {current.uid}",
            )
        if version not in {"", "0"} and int(version) != current.revision:
            raise _status.conflict(kind.gvk.group, kind.plural, current.name, _status.MODIFIED)

    def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> tuple[StoredObject, bool]:
        """Delete, or begin to: returns the object as it is now and whether it is gone already."""
        current = self.get(kind, namespace, name)
        return self.delete_stored(kind, current, options)

    def delete_stored(self, kind: Kind, current: StoredObject, options: DeleteOptions) -> tuple[StoredObject, bool]:
        check_namespace_deletion(kind, current.name)
        obj = self.view(kind, current)
        plan = plan_deletion(kind, obj, options, now=self._clock.wall())
        if plan.pending:
            return current, False
        if plan.remove:
            return self.remove(kind, current, obj, dry_run=options.dry_run), True
        return self._keep(kind, obj, current, dry_run=options.dry_run), False

    def remove(self, kind: Kind, current: StoredObject, last: dict[str, Any], *, dry_run: bool = False) -> StoredObject:
        """Take the object out of the store, whatever holds it; ``last`` is the state that watchers see."""
        stored = self._to_storage(kind, last)
        if dry_run:
            return self._draft(current.resource, stored, current.revision)
        return self._store.remove(current, stored, fields=self._fields(kind, stored))

    # Inside

    def _keep(self, kind: Kind, obj: dict[str, Any], current: StoredObject | None, *, dry_run: bool) -> StoredObject:
        stored = self._to_storage(kind, obj)
        metadata = stored["metadata"]
        if current is not None:
            # Equal to what is there: no new version, no event.
            metadata["resourceVersion"] = str(current.revision)
            if stored == current.decode():
                return current
        resource = self.resource(kind)
        if dry_run:
            return self._draft(resource, stored, 0 if current is None else current.revision)
        gvk = GroupVersionKind.of(stored["apiVersion"], stored["kind"])
        return self._store.put(resource, gvk, stored, fields=self._fields(kind, stored), old=current)

    def _draft(self, resource: str, stored: dict[str, Any], revision: int) -> StoredObject:
        metadata = stored["metadata"]
        if revision:
            metadata["resourceVersion"] = str(revision)
        else:
            metadata.pop("resourceVersion", None)
        return StoredObject(
            resource=resource,
            gvk=GroupVersionKind.of(stored["apiVersion"], stored["kind"]),
            namespace=metadata.get("namespace", ""),
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            revision=revision,
            data=msgspec.json.encode(stored),
            labels=dict(metadata.get("labels") or {}),
            fields={},
        )

    def _to_storage(self, kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
        stored = kind.to_storage(obj)
        # One order of fields: lists cut the first two off by their known length.
        first = ("apiVersion", "kind") if kind.custom else ("kind", "apiVersion")
        ordered = {key: stored[key] for key in (*first, "metadata")}
        for key, value in stored.items():
            if key not in ordered:
                ordered[key] = value
        return ordered

    def _fields(self, kind: Kind, stored: dict[str, Any]) -> dict[str, str]:
        metadata = stored["metadata"]
        fields = {"metadata.name": metadata["name"]}
        if kind.namespaced:
            fields["metadata.namespace"] = metadata.get("namespace", "")
        gvk = GroupVersionKind.of(stored["apiVersion"], stored["kind"])
        storage_kind = kind if gvk == kind.gvk else self._registry.by_gvk(gvk)
        for name, read in (storage_kind.selectable_fields if storage_kind is not None else {}).items():
            fields[name] = read(stored)
        if kind.storage == ("", "events"):
            # One store, two views with names of their own.
            view = self._registry.lookup("events.k8s.io", "v1", "events")
            if view is not None:
                shown = view.from_storage(stored)
                fields.update({name: read(shown) for name, read in view.selectable_fields.items()})
        return fields

    def _context(self) -> WriteContext:
        return WriteContext(now=self._clock.wall(), random=self._random, taken=self._is_taken)

    def _is_taken(self, address: str) -> bool:
        for stored in self._store.objects("services"):
            spec = stored.decode().get("spec") or {}
            ports = [str(port.get("nodePort", "")) for port in spec.get("ports") or ()]
            if address in (*(spec.get("clusterIPs") or ()), spec.get("clusterIP"), *ports):
                return True
        return False

    def _generate(self, kind: Kind, namespace: str, base: str) -> str:
        # The real server tries seven times before it answers AlreadyExists.
        name = ""
        for _ in range(8):
            name = generated_name(base, self._random.choice)
            if self.find(kind, namespace, name) is None:
                break
        return name

    def _is_finished(self, kind: Kind, obj: dict[str, Any]) -> bool:
        """Tell whether nothing holds a terminating object any more."""
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
            return False
        if kind.storage == ("", _NAMESPACES) and (obj.get("spec") or {}).get("finalizers"):
            return False
        return not metadata.get("deletionGracePeriodSeconds")

    @staticmethod
    def _prepared(prepare: Callable[[], dict[str, Any]], kind: Kind) -> dict[str, Any]:
        try:
            return prepare()
        except MalformedObject as error:
            raise malformed(kind, error) from error


@dataclass(frozen=True, slots=True)
class _Fault:
    field: str
    reason: str
    message: str


def _raise_faults(kind: Kind, name: str, faults: Sequence[_status.FieldFault]) -> None:
    if faults:
        # Both views of Events are checked as the one thing that is stored.
        group = "" if kind.storage == ("", "events") else kind.gvk.group
        raise _status.invalid(group, kind.gvk.kind, name, faults)


def _settle_namespace(kind: Kind, metadata: dict[str, Any], namespace: str) -> None:
    if not kind.namespaced:
        metadata.pop("namespace", None)
        return
    given = metadata.get("namespace") or ""
    if given and given != namespace:
        raise _status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = namespace


def _with_finalizers_of(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    result = {**old, "metadata": dict(old["metadata"]), "spec": dict(old.get("spec") or {})}
    finalizers = (new.get("spec") or {}).get("finalizers")
    if finalizers:
        result["spec"]["finalizers"] = finalizers
    else:
        result["spec"].pop("finalizers", None)
    return result
