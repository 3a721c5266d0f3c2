"""Events, in both of their views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver._name_rules import qualified_name_faults
from pyoperator.apiserver.registry.kinds._rules import Rules, at, fields
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from pyoperator.apiserver.registry._kind import Object

_OBJECT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _default_core(obj: Object) -> None:
    obj.setdefault("involvedObject", {})
    obj.setdefault("source", {})
    for name in ("firstTimestamp", "lastTimestamp", "eventTime"):
        obj.setdefault(name, None)
    for name in ("reportingComponent", "reportingInstance"):
        obj.setdefault(name, "")


def _default_new(obj: Object) -> None:
    obj.setdefault("eventTime", None)
    obj.setdefault("deprecatedSource", {})
    for name in ("deprecatedFirstTimestamp", "deprecatedLastTimestamp"):
        obj.setdefault(name, None)


def _check_core(obj: Object, old: Object | None) -> list[FieldError]:
    return _place(obj["involvedObject"].get("namespace", ""), obj)


def _place(namespace: str, obj: Object) -> list[FieldError]:
    own = obj["metadata"].get("namespace", "")
    # Events about cluster-scoped objects live in the default namespace.
    if (namespace or "default") != own:
        return [FieldError.invalid("involvedObject.namespace", namespace, "does not match event.namespace")]
    return []


def _check_new(obj: Object, old: Object | None) -> list[FieldError]:
    faults = _place((obj.get("regarding") or {}).get("namespace", ""), obj)
    if old is not None:
        return faults + _unchanged(obj, old)
    if not obj.get("eventTime"):
        # The old view's events come along here without one; their other fields may be empty as well.
        if not obj.get("deprecatedFirstTimestamp"):
            faults.append(FieldError.required("eventTime"))
    else:
        controller = obj.get("reportingController", "")
        if not controller:
            faults.append(FieldError.required("reportingController"))
        faults += [
            FieldError.invalid("reportingController", controller, fault)
            for fault in qualified_name_faults(controller)
            if controller
        ]
        for name, limit in (("reportingInstance", 128), ("action", 128), ("reason", 128)):
            if not obj.get(name):
                faults.append(FieldError.required(name))
            elif len(obj[name]) > limit:
                faults.append(FieldError.invalid(name, obj[name], f"can have at most {limit} characters"))
        if len(obj.get("note", "")) > 1024:
            faults.append(FieldError.invalid("message", "", "can have at most 1024 characters"))
    if obj.get("type") not in ("Normal", "Warning"):
        faults.append(FieldError.invalid("type", "", f"has invalid value: {obj.get('type', '')}"))
    return faults


def _unchanged(obj: Object, old: Object) -> list[FieldError]:
    names = {"regarding": "involvedObject", "note": "message"}
    return [
        FieldError.invalid(names.get(name, name), obj.get(name), "field is immutable")
        for name in (
            "regarding", "reason", "note", "type", "eventTime", "action", "related", "reportingController",
            "reportingInstance",
        )
        if (obj.get(name) or "") != (old.get(name) or "")
    ]  # fmt: skip


def _source(obj: Object) -> str:
    return at("source.component")(obj) or at("reportingComponent")(obj)


EVENTS: dict[tuple[str, str], Rules] = {
    ("", "Event"): Rules(
        default=_default_core,
        check=_check_core,
        selectable={
            **fields(*(f"involvedObject.{name}" for name in _OBJECT), "reason", "reportingComponent", "type"),
            "source": _source,
        },
    ),
    ("events.k8s.io", "Event"): Rules(
        default=_default_new,
        check=_check_new,
        selectable=fields(*(f"regarding.{name}" for name in _OBJECT), "reason", "reportingController", "type"),
    ),
}
