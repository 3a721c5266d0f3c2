"""What a DELETE does to an object: remove it, or mark it and let finalizers, a grace period or a controller end it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver import _status
from pyoperator.objects import format_time, parse_time

if TYPE_CHECKING:
    from pyoperator.apiserver._caller import Caller
    from pyoperator.apiserver.registry import Kind

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
CRD_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_POLICIES = ("Orphan", "Background", "Foreground")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """``meta/v1 DeleteOptions``; None and "" mean that the client said nothing."""

    propagation_policy: str = ""
    orphan_dependents: bool | None = None
    grace_period_seconds: int | None = None
    precondition_uid: str = ""
    precondition_version: str = ""
    dry_run: bool = False
    caller: Caller | None = field(default=None)

    def check(self) -> None:
        """Raise 422 for options that make no sense."""
        if self.propagation_policy and self.orphan_dependents is not None:
            raise _invalid_options(
                "propagationPolicy",
                f'Invalid value: "{self.propagation_policy}": orphanDependents and deletionPropagation cannot be both set',
            )
        if self.propagation_policy and self.propagation_policy not in _POLICIES:
            supported = ", ".join(f'"{policy}"' for policy in ("Foreground", "Background", "Orphan", "nil"))
            raise _invalid_options(
                "propagationPolicy",
                f'Unsupported value: "{self.propagation_policy}": supported values: {supported}',
                "FieldValueNotSupported",
            )


@dataclass(frozen=True, slots=True)
class _Fault:
    field: str
    reason: str
    message: str


def _invalid_options(field_: str, message: str, reason: str = "FieldValueInvalid") -> _status.StatusError:
    return _status.invalid("meta.k8s.io", "DeleteOptions", "", [_Fault(field_, reason, message)])


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """``pending``: nothing to do, it is being deleted already; ``remove``: out of the store now; else store the mark."""

    pending: bool = False
    remove: bool = False


def plan_deletion(kind: Kind, obj: dict[str, Any], options: DeleteOptions, *, now: float) -> DeletionPlan:
    """Decide, and mark ``obj`` in place (deletionTimestamp, finalizers); raises 409 on a failed precondition."""
    options.check()
    metadata = obj["metadata"]
    _check_preconditions(kind, metadata, options)
    if kind.storage == ("", "namespaces"):
        return _plan_namespace(obj, options, now)
    if kind.storage == ("apiextensions.k8s.io", "customresourcedefinitions"):
        return _plan_definition(obj, now)
    pending, grace = False, 0
    if kind.storage == ("", "pods"):
        pending, grace = _pod_grace(obj, options, now)
    if pending:
        return DeletionPlan(pending=True)
    _settle_finalizers(metadata, options)
    if grace == 0 and not metadata.get("finalizers"):
        # Gone in the same step: the last state that anybody sees bears no mark.
        return DeletionPlan(remove=True)
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = format_time(now)
        metadata["deletionGracePeriodSeconds"] = 0
        if metadata.get("generation"):
            metadata["generation"] += 1  # deletion is a change of what is wanted: controllers that filter must see it
    return DeletionPlan()


def _check_preconditions(kind: Kind, metadata: dict[str, Any], options: DeleteOptions) -> None:
    uid, version = options.precondition_uid, options.precondition_version
    if uid and uid != metadata.get("uid"):
        raise _status.conflict(
            kind.gvk.group,
            kind.gvk.kind,
            metadata["name"],
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata.get('uid')}). "
            "The object might have been deleted and then recreated",
        )
    if version and version != metadata.get("resourceVersion"):
        raise _status.conflict(
            kind.gvk.group,
            kind.gvk.kind,
            metadata["name"],
            f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record "
            f"({metadata.get('resourceVersion')}). The object might have been modified",
        )


def _settle_finalizers(metadata: dict[str, Any], options: DeleteOptions) -> None:
    """Set the garbage collector's finalizers as the propagation policy asks; without one what is there stays."""
    current = list(metadata.get("finalizers") or ())
    orphan, foreground = ORPHAN in current, FOREGROUND in current
    if options.orphan_dependents is not None:
        orphan, foreground = options.orphan_dependents, foreground and not options.orphan_dependents
    elif options.propagation_policy:
        orphan = options.propagation_policy == "Orphan"
        foreground = options.propagation_policy == "Foreground"
    finalizers = [finalizer for finalizer in current if finalizer not in {ORPHAN, FOREGROUND}]
    if orphan:
        finalizers.append(ORPHAN)
    if foreground:
        finalizers.append(FOREGROUND)
    if sorted(finalizers) == sorted(current):
        return
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _pod_grace(obj: dict[str, Any], options: DeleteOptions, now: float) -> tuple[bool, int]:
    """Return (already pending, seconds left to run); a pod that runs nowhere goes at once."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    if metadata.get("deletionTimestamp"):
        running = metadata.get("deletionGracePeriodSeconds")
        wanted = options.grace_period_seconds
        if running is None or wanted is None or wanted >= running:
            # Held by finalizers alone, grace is over: another DELETE changes nothing.
            return True, running or 0
        started = parse_time(metadata["deletionTimestamp"]) - running
        metadata["deletionTimestamp"] = format_time(started + wanted)
        metadata["deletionGracePeriodSeconds"] = wanted
        return False, wanted
    grace = options.grace_period_seconds
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds", 30)
    if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        grace = 0
    if grace < 0:
        grace = 1
    metadata["deletionTimestamp"] = format_time(now + grace)
    metadata["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation"):
        metadata["generation"] += 1
    return False, grace


def _plan_namespace(obj: dict[str, Any], options: DeleteOptions, now: float) -> DeletionPlan:
    metadata = obj["metadata"]
    _settle_finalizers(metadata, options)
    held = bool((obj.get("spec") or {}).get("finalizers")) or bool(metadata.get("finalizers"))
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = format_time(now)
        obj.setdefault("status", {})["phase"] = "Terminating"
        return DeletionPlan(remove=not held)
    return DeletionPlan(pending=held, remove=not held)


def _plan_definition(obj: dict[str, Any], now: float) -> DeletionPlan:
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return DeletionPlan(pending=bool(metadata.get("finalizers")), remove=not metadata.get("finalizers"))
    metadata["deletionTimestamp"] = format_time(now)
    finalizers = metadata.setdefault("finalizers", [])
    if CRD_CLEANUP not in finalizers:
        # Its objects go first: the server's own hand removes this finalizer when there is none left.
        finalizers.append(CRD_CLEANUP)
    conditions = obj.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [condition for condition in conditions if condition.get("type") != "Terminating"]
    conditions.append(
        {
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": format_time(now),
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        }
    )
    return DeletionPlan()
