"""What a request for an eviction says: the ``policy/v1 Eviction`` in its body and the options of its URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver import _status
from pyoperator.apiserver._deletion import DeleteOptions
from pyoperator.apiserver._negotiation import decode_object
from pyoperator.apiserver._object_shape import check_envelope
from pyoperator.apiserver.registry import EVICTION, MalformedObject
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver._paths import Target

_VERSIONS = ("policy/v1", "policy/v1beta1")


@dataclass(frozen=True, slots=True)
class EvictionRequest:
    """One eviction asked for; ``options`` holds what of the pod's deletion the client has settled."""

    namespace: str
    name: str
    options: DeleteOptions
    warnings: tuple[str, ...] = ()


def read_eviction(target: Target, query: Mapping[str, str], body: bytes, content_type: str) -> EvictionRequest:
    """Decode and check, in the real server's order; raises 400 and 422."""
    _check_dry_run([query["dryRun"]] if query.get("dryRun") else [], "CreateOptions")
    given = decode_object(body, content_type, EVICTION.gvk.kind)
    _check_type(given)
    try:
        unknown = EVICTION.unknown_fields(given)
        eviction = EVICTION.decode(given)
    except MalformedObject as error:
        raise _status.bad_request(f'Eviction in version "v1" cannot be handled as a Eviction: {error}') from error
    validation = query.get("fieldValidation") or "Warn"
    if unknown and validation == "Strict":
        raise _status.bad_request(
            'Eviction in version "v1" cannot be handled as a Eviction: strict decoding error: ' + ", ".join(unknown)
        )
    metadata = eviction.get("metadata") or {}
    if metadata.get("namespace", target.namespace) != target.namespace:
        raise _status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if metadata.get("name") != target.name:
        raise _status.bad_request("name in URL does not match name in Eviction object")
    return EvictionRequest(
        namespace=target.namespace,
        name=target.name,
        options=_options(eviction.get("deleteOptions") or {}, query, target.name),
        warnings=tuple(unknown) if validation == "Warn" else (),
    )


def _check_type(given: Any) -> None:
    """Refuse what is no Eviction; a body that does not say what it is is taken for one."""
    if isinstance(given, dict):
        kind, version = given.get("kind") or EVICTION.gvk.kind, given.get("apiVersion") or _VERSIONS[0]
        if kind == EVICTION.gvk.kind and version in _VERSIONS:
            given["apiVersion"] = _VERSIONS[0]
        elif str(version).startswith("policy/") or kind == EVICTION.gvk.kind:
            raise _status.bad_request(
                f'{kind} in version "v1" cannot be handled as a Eviction: no kind "{kind}" is registered for version '
                f'"{version}" in scheme "pkg/runtime/scheme.go:111"'
            )
    check_envelope(EVICTION, given)


def _options(body: dict[str, Any], query: Mapping[str, str], name: str) -> DeleteOptions:
    if body.get("ignoreStoreReadErrorWithClusterBreakingPotential"):
        field = "deleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential"
        fault = FieldError.invalid(field, True, "can not be set for pod eviction, try after removing the option")
        raise _status.invalid("policy", "Eviction", name, [fault])
    asked, wanted = ["All"] if query.get("dryRun") else [], body.get("dryRun") or []
    if asked and wanted and asked != wanted:
        shown = " and ".join(f"[{' '.join(values)}]" for values in (asked, wanted))
        raise _status.StatusError(500, "", f"Non-matching dry-run options in request and content: {shown}")
    _check_dry_run(wanted, "DeleteOptions")
    preconditions = body.get("preconditions") or {}
    return DeleteOptions(
        propagation_policy=body.get("propagationPolicy", ""),
        orphan_dependents=body.get("orphanDependents"),
        grace_period_seconds=body.get("gracePeriodSeconds"),
        precondition_uid=preconditions.get("uid", ""),
        precondition_version=preconditions.get("resourceVersion", ""),
        dry_run=bool(asked or wanted),
    )


def _check_dry_run(values: list[str], kind: str) -> None:
    if values and values != ["All"]:
        raise _status.invalid("meta.k8s.io", kind, "", [FieldError.not_supported("dryRun", values, ("All",))])
