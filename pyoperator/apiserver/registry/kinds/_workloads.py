"""Workload kinds: StatefulSet, Deployment, ReplicaSet, DaemonSet, ReplicationController, Job, CronJob."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry.kinds._fields import (
    IMMUTABLE,
    count_or_percent,
    label_name,
    label_selector,
    non_negative,
    one_of,
    selects,
)
from pyoperator.apiserver.registry.kinds._pod_checks import check_pod_spec
from pyoperator.apiserver.registry.kinds._pod_defaults import default_template
from pyoperator.apiserver.registry.kinds._rules import Rules, fields
from pyoperator.apiserver.registry.kinds._volumes import check_claim_spec, default_claim
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.apiserver.registry._kind import Object, WriteContext

_STATEFUL_SET_MAY_CHANGE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)  # fmt: skip
_STATEFUL_SET_CHANGE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _check_template(spec: Object, *, restart: tuple[str, ...] = ("Always",)) -> Iterator[FieldError]:
    """Check selector and template together."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    if selector is None:
        yield FieldError.required("spec.selector")
    else:
        yield from label_selector(selector, "spec.selector")
    if selector is None or not selects(selector, labels or {}):
        detail = "`selector` does not match template `labels`"
        yield FieldError.invalid("spec.template.metadata.labels", labels, detail)
    pod = template.get("spec") or {}
    yield from check_pod_spec(pod, "spec.template.spec")
    policy = pod.get("restartPolicy")
    if policy in ("Always", "OnFailure", "Never") and policy not in restart:
        yield FieldError.not_supported("spec.template.spec.restartPolicy", policy, restart)


def _same_selector(new: Object, old: Object | None) -> Iterator[FieldError]:
    if old is not None and new.get("selector") != old["spec"].get("selector"):
        yield FieldError.invalid("spec.selector", new.get("selector"), IMMUTABLE)


def _default_stateful_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_template(spec.setdefault("template", {}))
    spec.setdefault("serviceName", "")
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    for claim in spec.get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        claim.setdefault("metadata", {})
        default_claim(claim)
        claim.setdefault("status", {}).setdefault("phase", "Pending")
    if "status" in obj:
        obj["status"].setdefault("replicas", 0)
        obj["status"].setdefault("availableReplicas", 0)


def _check_stateful_set(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    # Claims are mounted by their templates' names: to the checks of the pod they are volumes.
    checked = copy.deepcopy(spec)
    claims = [claim["metadata"].get("name", "") for claim in spec.get("volumeClaimTemplates") or ()]
    pod = checked["template"]["spec"]
    pod["volumes"] = [*(pod.get("volumes") or ()), *({"name": name, "emptyDir": {}} for name in claims if name)]
    faults: list[FieldError] = []
    if spec["podManagementPolicy"] not in ("OrderedReady", "Parallel"):
        detail = "must be 'OrderedReady' or 'Parallel'"
        faults.append(FieldError.invalid("spec.podManagementPolicy", spec["podManagementPolicy"], detail))
    faults += _stateful_strategy(spec["updateStrategy"])
    retention = spec["persistentVolumeClaimRetentionPolicy"]
    for name in ("whenDeleted", "whenScaled"):
        faults += one_of(retention, "spec.persistentVolumeClaimRetentionPolicy", name, ("Retain", "Delete"))
    faults += non_negative(spec, "spec", "replicas", "minReadySeconds")
    faults += non_negative(spec.get("ordinals") or {}, "spec.ordinals", "start")
    if spec.get("serviceName"):
        faults += label_name(spec["serviceName"], "spec.serviceName")
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        faults += check_claim_spec(claim["spec"], f"spec.volumeClaimTemplates[{index}].spec")
    faults += _check_template(checked)
    if old is not None:
        kept = [
            {key: value for key, value in entry["spec"].items() if key not in _STATEFUL_SET_MAY_CHANGE}
            for entry in (obj, old)
        ]
        if kept[0] != kept[1]:
            faults.append(FieldError.forbidden("spec", _STATEFUL_SET_CHANGE))
    return faults + _check_counts(obj, ("readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"))


def _stateful_strategy(strategy: Object) -> Iterator[FieldError]:
    rolling = strategy.get("rollingUpdate")
    shown: Object | None = None
    if rolling is not None:
        shown = {"Partition": rolling.get("partition", 0), "MaxUnavailable": rolling.get("maxUnavailable")}
    if strategy["type"] not in ("RollingUpdate", "OnDelete"):
        value = {"Type": strategy["type"], "RollingUpdate": shown}
        yield FieldError.invalid("spec.updateStrategy", value, "must be 'RollingUpdate' or 'OnDelete'")
    elif strategy["type"] == "OnDelete" and rolling is not None:
        detail = "only allowed for updateStrategy 'RollingUpdate'"
        yield FieldError.invalid("spec.updateStrategy.rollingUpdate", shown, detail)
    elif rolling is not None:
        yield from non_negative(rolling, "spec.updateStrategy.rollingUpdate", "partition")


def _check_counts(obj: Object, names: tuple[str, ...]) -> list[FieldError]:
    status: Object = obj.get("status") or {}
    total = status.get("replicas", 0)
    faults = [*non_negative(status, "status", "replicas", *names)]
    for name in names:
        if status.get(name, 0) > total:
            detail = "cannot be greater than status.replicas"
            faults.append(FieldError.invalid(f"status.{name}", status.get(name, 0), detail))
    return faults


def _default_deployment(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_template(spec.setdefault("template", {}))
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def _check_deployment(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults = [*_check_template(spec)]
    if spec.get("selector") == {}:
        faults.append(FieldError.invalid("spec.selector", {}, "empty selector is invalid for deployment"))
    faults += non_negative(
        spec, "spec", "replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"
    )
    strategy = spec["strategy"]
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] not in ("Recreate", "RollingUpdate"):
        value = {"Type": strategy["type"], "RollingUpdate": None}
        faults.append(FieldError.not_supported("spec.strategy", value, ("Recreate", "RollingUpdate")))
    elif strategy["type"] == "Recreate" and rolling is not None:
        detail = "may not be specified when strategy `type` is 'Recreate'"
        faults.append(FieldError.forbidden("spec.strategy.rollingUpdate", detail))
    elif rolling is not None:
        faults += _rolling(rolling, "spec.strategy.rollingUpdate")
    return [
        *faults,
        *_same_selector(spec, old),
        *_check_counts(obj, ("updatedReplicas", "readyReplicas", "availableReplicas")),
    ]


def _rolling(rolling: Object, field: str) -> Iterator[FieldError]:
    surge, unavailable = rolling.get("maxSurge", 0), rolling.get("maxUnavailable", 0)
    # More than all may be added, but not more than all taken away.
    if not (isinstance(surge, str) and surge[:-1].isdigit() and surge.endswith("%")):
        yield from count_or_percent(surge, f"{field}.maxSurge")
    yield from count_or_percent(unavailable, f"{field}.maxUnavailable")
    if surge in (0, "0%") and unavailable in (0, "0%"):
        yield FieldError.invalid(f"{field}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")


def _default_replica_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    default_template(spec.setdefault("template", {}))
    if "status" in obj:
        obj["status"].setdefault("replicas", 0)


def _check_replica_set(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults = [*non_negative(spec, "spec", "replicas", "minReadySeconds"), *_check_template(spec)]
    return [*faults, *_same_selector(spec, old)]


def _default_daemon_set(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    default_template(spec.setdefault("template", {}))
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    obj.setdefault("metadata", {}).setdefault("annotations", {}).setdefault(
        "deprecated.daemonset.template.generation", "1"
    )
    if "status" in obj:
        for name in ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"):
            obj["status"].setdefault(name, 0)


def _check_daemon_set(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults = [*_check_template(spec)]
    if spec.get("selector") is None:
        faults = [fault for fault in faults if fault.field != "spec.selector"]
    if spec.get("selector") == {}:
        faults.append(FieldError.invalid("spec.selector", {}, "empty selector is invalid for daemonset"))
    kind = spec["updateStrategy"]["type"]
    if kind not in ("RollingUpdate", "OnDelete"):
        value = {"Type": kind, "RollingUpdate": None}
        faults.append(FieldError.not_supported("spec.updateStrategy", value, ("RollingUpdate", "OnDelete")))
    return [*faults, *_same_selector(spec, old)]


def _default_controller(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    template = spec.get("template")
    if template is not None:
        default_template(template)
        labels = (template.get("metadata") or {}).get("labels")
        if labels:
            spec.setdefault("selector", dict(labels))
            obj.setdefault("metadata", {}).setdefault("labels", dict(labels))
    if "status" in obj:
        obj["status"].setdefault("replicas", 0)


def _check_controller(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults = [FieldError.required(f"spec.{name}") for name in ("selector", "template") if not spec.get(name)]
    if not faults:
        faults += _check_template({**spec, "selector": {"matchLabels": spec["selector"]}})
    return [*faults, *non_negative(spec, "spec", "replicas", "minReadySeconds")]


def _default_job_spec(spec: Object) -> None:
    template = spec.setdefault("template", {})
    pod = template.setdefault("spec", {})
    said = pod.get("restartPolicy")
    default_template(template)
    if said is None:
        del pod["restartPolicy"]  # a Job has no default: its author must choose


def _default_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _default_job_spec(spec)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")


def _create_job(obj: Object, ctx: WriteContext) -> None:
    spec, metadata = obj["spec"], obj["metadata"]
    if spec.get("manualSelector"):
        return
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    prefix = "batch.kubernetes.io/"
    labels = {f"{prefix}controller-uid": uid, f"{prefix}job-name": name, "controller-uid": uid, "job-name": name}
    for target in (spec["template"].setdefault("metadata", {}), metadata):
        target["labels"] = {**(target.get("labels") or {}), **labels}
    spec["selector"] = {"matchLabels": {f"{prefix}controller-uid": uid}}


def _check_job(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults = [*non_negative(spec, "spec", "parallelism", "completions", "backoffLimit", "activeDeadlineSeconds")]
    faults += one_of(spec, "spec", "completionMode", ("NonIndexed", "Indexed"))
    faults += _job_pod(spec["template"]["spec"], "spec.template.spec")
    if old is not None:
        for name in ("completions", "selector", "template"):
            if name == "completions" and spec.get("completionMode") == "Indexed":
                continue
            if spec.get(name) != old["spec"].get(name) and not old["spec"].get("suspend"):
                faults.append(FieldError.invalid(f"spec.{name}", spec.get(name), IMMUTABLE))
    return faults


def _job_pod(pod: Object, field: str) -> Iterator[FieldError]:
    yield from check_pod_spec(pod, field)
    if pod.get("restartPolicy") not in ("OnFailure", "Never"):
        yield FieldError.required(f"{field}.restartPolicy", 'valid values: "OnFailure", "Never"')


def _default_cron_job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    template = spec.setdefault("jobTemplate", {})
    template.setdefault("metadata", {})
    _default_job_spec(template.setdefault("spec", {}))


def _check_cron_job(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults: list[FieldError] = []
    schedule = spec.get("schedule", "")
    if not schedule:
        faults.append(FieldError.required("spec.schedule"))
    elif not schedule.startswith("@") and len(schedule.split()) != 5:
        found = schedule.split()
        detail = f"expected exactly 5 fields, found {len(found)}: [{' '.join(found)}]"
        faults.append(FieldError.invalid("spec.schedule", schedule, detail))
    faults += one_of(spec, "spec", "concurrencyPolicy", ("Allow", "Forbid", "Replace"))
    faults += _job_pod(spec["jobTemplate"]["spec"]["template"]["spec"], "spec.jobTemplate.spec.template.spec")
    return faults


def _empty(obj: Object) -> Any:
    return {}


def _check_revision(obj: Object, old: Object | None) -> list[FieldError]:
    faults = [] if obj.get("data") else [FieldError.required("data", "data is mandatory")]
    if old is not None and obj.get("data") != old.get("data"):
        faults.append(FieldError.invalid("data", obj.get("data"), IMMUTABLE))
    return faults


WORKLOADS: dict[tuple[str, str], Rules] = {
    ("apps", "StatefulSet"): Rules(default=_default_stateful_set, status=_empty, check=_check_stateful_set),
    ("apps", "Deployment"): Rules(default=_default_deployment, status=_empty, check=_check_deployment),
    ("apps", "ReplicaSet"): Rules(
        default=_default_replica_set, status=_empty, check=_check_replica_set, selectable=fields("status.replicas")
    ),
    ("apps", "DaemonSet"): Rules(default=_default_daemon_set, status=_empty, check=_check_daemon_set),
    ("apps", "ControllerRevision"): Rules(check=_check_revision),
    ("", "ReplicationController"): Rules(
        default=_default_controller, status=_empty, check=_check_controller, selectable=fields("status.replicas")
    ),
    ("batch", "Job"): Rules(
        default=_default_job,
        create=_create_job,
        status=_empty,
        check=_check_job,
        selectable=fields("status.successful"),
    ),
    ("batch", "CronJob"): Rules(default=_default_cron_job, status=_empty, check=_check_cron_job),
}
