"""Create, update, patch, delete: from the body of a request to an operation and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver._list_options import parse_flag, parse_list_options, parse_number
from pyoperator.apiserver._negotiation import decode_object, duplicate_fields, encode, summary
from pyoperator.apiserver._object_shape import check_envelope, check_metadata_types, malformed
from pyoperator.apiserver._operations import DeleteOptions, WriteOptions
from pyoperator.apiserver._request import APIResponse
from pyoperator.apiserver.patch import PatchError, apply_patch
from pyoperator.apiserver.registry import MalformedObject, read_scale, write_scale
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pyoperator.apiserver._negotiation import Wanted
    from pyoperator.apiserver._operations import Operations
    from pyoperator.apiserver._paths import Target
    from pyoperator.apiserver._representation import Representation
    from pyoperator.apiserver.registry import Kind, Registry

# Kinds whose DELETE answers the object; the others answer a Status.
_RETURNED_WHEN_DELETED = frozenset(
    {
        ("", "namespaces"),
        ("", "persistentvolumeclaims"),
        ("", "persistentvolumes"),
        ("", "pods"),
        ("", "serviceaccounts"),
        ("", "services"),
        ("storage.k8s.io", "storageclasses"),
    }
)
_PATCHES = frozenset(
    {
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "application/apply-patch+cbor",
    }
)
_VALIDATIONS = ("Ignore", "Warn", "Strict")
_MANAGER_LIMIT = 128
_APPLY = frozenset({"application/apply-patch+yaml", "application/apply-patch+cbor"})


@dataclass(slots=True)
class WriteRequest:
    """One write as it came; ``warnings`` is filled in on the way."""

    kind: Kind
    target: Target
    query: Mapping[str, str]
    body: bytes
    content_type: str
    wanted: Wanted
    view: Representation
    check: Callable[[dict[str, Any], dict[str, Any] | None], None] | None = None
    warnings: list[str] = field(default_factory=list)


class _Body(NamedTuple):
    obj: Any
    options: WriteOptions


class Writes:
    """Carry out writes on one store."""

    def __init__(self, operations: Operations, registry: Registry) -> None:
        self._operations = operations
        self._registry = registry

    def create(self, request: WriteRequest) -> APIResponse:
        options = self._options(request, "CreateOptions")
        obj = self._decoded(request)
        self._check_fields(request, obj)
        if isinstance(obj, dict) and request.kind.gvk.kind == "CustomResourceDefinition":
            request.warnings += self._crd_warnings(obj)
        stored = self._operations.create(request.kind, request.target.namespace, obj, options)
        return self._answer(request, 201, request.view.single(stored))

    def _decoded(self, request: WriteRequest) -> Any:
        kind = request.kind
        obj = decode_object(request.body, request.content_type, kind.gvk.kind)
        if kind.custom and isinstance(obj, dict) and not obj.get("kind"):
            shown = request.body.decode("utf-8", "replace")
            raise _status.bad_request(
                f"the object provided is unrecognized (must be of type {kind.gvk.kind}): Object 'Kind' is missing in "
                f"'{shown}' ({summary(request.body)})"
            )
        return obj

    def update(self, request: WriteRequest) -> APIResponse:
        options = self._options(request, "UpdateOptions")
        obj = self._decoded(request)
        target = request.target
        if target.subresource == "scale":
            return self._scale(request, options, lambda _: obj)
        self._check_fields(request, obj)
        stored, created = self._operations.update(
            request.kind, target.namespace, target.name, obj, options, subresource=target.subresource
        )
        return self._answer(request, 201 if created else 200, request.view.single(stored))

    def patch(self, request: WriteRequest) -> APIResponse:
        options = self._options(request, "PatchOptions")
        kind, target = request.kind, request.target
        if request.content_type.partition(";")[0].strip().lower() in _APPLY:
            self._patched(request, {})  # refused, whether or not the object is there
        if target.subresource == "scale":
            return self._scale(request, options, lambda scale: self._patched(request, scale))

        def change(current: dict[str, Any]) -> dict[str, Any]:
            patched = self._patched(request, current)
            try:
                self._check_fields(request, patched)
            except _status.StatusError as error:
                raise _unfit(kind, patched, error) from error
            return patched

        stored = self._operations.modify(
            kind, target.namespace, target.name, change, options, subresource=target.subresource
        )
        return self._answer(request, 200, request.view.single(stored))

    def _patched(self, request: WriteRequest, current: dict[str, Any]) -> dict[str, Any]:
        if request.content_type.partition(";")[0].strip().lower() not in _PATCHES:
            raise _status.StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
        try:
            return apply_patch(request.content_type, current, request.body, request.kind)
        except PatchError as error:
            details: dict[str, Any] | None = {} if error.reason == "Invalid" else None
            raise _status.StatusError(error.code, error.reason, error.message, details) from error

    def _scale(
        self, request: WriteRequest, options: WriteOptions, change: Callable[[dict[str, Any]], Any]
    ) -> APIResponse:
        kind, target = request.kind, request.target

        def apply(current: dict[str, Any]) -> dict[str, Any]:
            scale = change(read_scale(kind, current))
            if not isinstance(scale, dict):
                raise _status.bad_request("the body is not a Scale object")
            replicas = (scale.get("spec") or {}).get("replicas", 0)
            if not isinstance(replicas, int) or isinstance(replicas, bool):
                raise _status.bad_request(
                    'Scale in version "v1" cannot be handled as a Scale: spec.replicas must be a number'
                )
            if replicas < 0:
                fault = FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
                raise _status.invalid("autoscaling", "Scale", target.name, [fault])
            return write_scale(kind, current, scale)

        stored = self._operations.modify(kind, target.namespace, target.name, apply, options)
        return self._answer(request, 200, encode(read_scale(kind, self._operations.view(kind, stored)), request.wanted))

    def delete(self, request: WriteRequest) -> APIResponse:
        options = self._delete_options(request)
        kind, target = request.kind, request.target
        stored, gone = self._operations.delete(kind, target.namespace, target.name, options)
        if not gone or kind.storage in _RETURNED_WHEN_DELETED:
            return self._answer(request, 200, request.view.single(stored))
        details: dict[str, Any] = {"name": stored.name}
        if kind.gvk.group:
            details["group"] = kind.gvk.group
        details["kind"] = kind.plural
        details["uid"] = stored.uid
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return self._answer(request, 200, encode(status, request.wanted))

    def delete_collection(self, request: WriteRequest) -> APIResponse:
        options = self._delete_options(request)
        kind = request.kind
        listed = parse_list_options(kind, request.target.namespace, "", request.query, watch=False)
        deleted = []
        for stored in self._operations.stored(kind, listed.selection.namespace):
            if not listed.selection.matches(stored):
                continue
            self._operations.delete_stored(kind, stored, options)
            deleted.append(stored)
        version = str(max((stored.revision for stored in deleted), default=self._operations.revision))
        return self._answer(request, 200, request.view.many(deleted, {"resourceVersion": version}))

    def _answer(self, request: WriteRequest, code: int, body: bytes) -> APIResponse:
        headers = {"content-type": request.view.content_type}
        return APIResponse(code, body, headers, warnings=tuple(request.warnings))

    # Options

    def _options(self, request: WriteRequest, kind: str) -> WriteOptions:
        query = request.query
        validation = query.get("fieldValidation", "")
        if validation and validation not in _VALIDATIONS:
            fault = FieldError.not_supported("fieldValidation", validation, ("", *sorted(_VALIDATIONS)))
            raise _status.invalid("meta.k8s.io", kind, "", [fault])
        manager = query.get("fieldManager", "")
        if len(manager.encode()) > _MANAGER_LIMIT:
            fault = FieldError.too_long("fieldManager", _MANAGER_LIMIT)
            raise _status.invalid("meta.k8s.io", kind, "", [fault])
        return WriteOptions(
            dry_run=_dry_run(query.get("dryRun", ""), kind),
            field_manager=manager,
            check=request.check,
        )

    def _delete_options(self, request: WriteRequest) -> DeleteOptions:
        query = request.query
        body: dict[str, Any] = {}
        if request.body:
            decoded = decode_object(request.body, request.content_type)
            if not isinstance(decoded, dict):
                raise _status.bad_request("the body of a DELETE is DeleteOptions")
            if decoded.get("kind", "DeleteOptions") != "DeleteOptions":
                raise _status.bad_request(
                    f"invalid object type: {decoded.get('kind')}: the body of a DELETE is DeleteOptions"
                )
            body = decoded
        try:
            read = msgspec.convert(body, _DeleteBody)
        except msgspec.ValidationError as error:
            raise _status.bad_request(f"DeleteOptions cannot be read: {error}") from error
        grace = (
            parse_number(query, "gracePeriodSeconds") if "gracePeriodSeconds" in query else read.grace_period_seconds
        )
        orphan = parse_flag(query, "orphanDependents") if "orphanDependents" in query else read.orphan_dependents
        preconditions = read.preconditions or _Preconditions()
        dry_run = ",".join(read.dry_run or ()) or query.get("dryRun", "")
        return DeleteOptions(
            propagation_policy=query.get("propagationPolicy") or read.propagation_policy or "",
            orphan_dependents=orphan,
            grace_period_seconds=grace,
            precondition_uid=preconditions.uid or "",
            precondition_version=preconditions.resource_version or "",
            dry_run=_dry_run(dry_run, "DeleteOptions"),
        )

    def _check_fields(self, request: WriteRequest, obj: dict[str, Any]) -> None:
        validation = request.query.get("fieldValidation") or "Warn"
        if validation == "Ignore":
            return
        kind = request.kind
        check_envelope(kind, obj)
        if kind.custom:
            check_metadata_types(kind, obj)
        try:
            unknown = self._registry.unknown_fields(kind, obj)
        except MalformedObject as error:
            raise malformed(kind, error) from error
        if request.target.verb != "patch" and "fieldValidation" in request.query:
            # Looked for only where asked, as kubectl does: it takes another reading of the body.
            unknown = [*duplicate_fields(request.body, request.content_type), *unknown]
        if not unknown:
            return
        if validation == "Warn":
            request.warnings += unknown
            return
        raise _status.bad_request(
            f'{kind.gvk.kind} in version "{kind.gvk.version}" cannot be handled as a {kind.gvk.kind}: '
            f"strict decoding error: {', '.join(unknown)}"
        )

    def _crd_warnings(self, obj: dict[str, Any]) -> list[str]:
        try:
            return self._registry.warnings_for_crd(obj)
        except (KeyError, TypeError, AttributeError, ValueError):
            return []  # not a well-formed CRD: validation will say what is wrong with it


def _unfit(kind: Kind, patched: dict[str, Any], error: _status.StatusError) -> _status.StatusError:
    """Return what a patch answers whose result can't be read as its kind: a fault of the patch, not of a body."""
    prefix = f'{kind.gvk.kind} in version "{kind.gvk.version}" cannot be handled as a {kind.gvk.kind}: '
    if not error.message.startswith(prefix):
        return error
    shown = msgspec.json.encode(patched).decode()
    return _status.invalid("", "", "", [FieldError.invalid("patch", shown, error.message.removeprefix(prefix))])


class _Preconditions(msgspec.Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteBody(msgspec.Struct, rename="camel"):
    grace_period_seconds: int | None = None
    orphan_dependents: bool | None = None
    propagation_policy: str | None = None
    preconditions: _Preconditions | None = None
    dry_run: list[str] | None = None


def _dry_run(value: str, kind: str) -> bool:
    if not value:
        return False
    if value != "All":
        fault = FieldError.not_supported("dryRun", value.split(","), ("All",))
        raise _status.invalid("meta.k8s.io", kind, "", [fault])
    return True
