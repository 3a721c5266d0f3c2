"""Kinds that rule others: RBAC, PodDisruptionBudget, NetworkPolicy, Ingress, HPA, webhooks, admission policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.apiserver._name_rules import subdomain_faults
from pyoperator.apiserver.registry.kinds._fields import count_or_percent, label_selector, one_of
from pyoperator.apiserver.registry.kinds._rules import Rules
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.apiserver.registry._kind import Object

_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"


def _default_role(obj: Object) -> None:
    if not obj.get("rules"):
        obj["rules"] = None


def _check_role(namespaced: bool) -> Callable[[Object, Object | None], list[FieldError]]:
    def check(obj: Object, old: Object | None) -> list[FieldError]:
        faults: list[FieldError] = []
        for index, rule in enumerate(obj.get("rules") or ()):
            where = f"rules[{index}]"
            if not rule.get("verbs"):
                faults.append(FieldError.required(f"{where}.verbs", "verbs must contain at least one value"))
            urls = rule.get("nonResourceURLs")
            if urls:
                if namespaced:
                    detail = "namespaced rules cannot apply to non-resource URLs"
                    faults.append(FieldError.invalid(f"{where}.nonResourceURLs", urls, detail))
                if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
                    detail = "rules cannot apply to both regular resources and non-resource URLs"
                    faults.append(FieldError.invalid(f"{where}.nonResourceURLs", urls, detail))
                continue
            for name, what in (("apiGroups", "api group"), ("resources", "resource")):
                if not rule.get(name):
                    detail = f"resource rules must supply at least one {what}"
                    faults.append(FieldError.required(f"{where}.{name}", detail))
        return faults

    return check


def _default_binding(obj: Object) -> None:
    reference = obj.setdefault("roleRef", {})
    reference.setdefault("apiGroup", _RBAC)
    reference.setdefault("kind", "")
    reference.setdefault("name", "")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", _RBAC)
        elif subject.get("kind") == "ServiceAccount" and subject.get("apiGroup") == "":
            del subject["apiGroup"]


def _check_binding(namespaced: bool) -> Callable[[Object, Object | None], list[FieldError]]:
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)

    def check(obj: Object, old: Object | None) -> list[FieldError]:
        reference = obj["roleRef"]
        faults: list[FieldError] = []
        if reference["apiGroup"] != _RBAC:
            faults.append(FieldError.not_supported("roleRef.apiGroup", reference["apiGroup"], (_RBAC,)))
        faults += one_of(reference, "roleRef", "kind", kinds)
        if not reference["name"]:
            faults.append(FieldError.required("roleRef.name"))
        for index, subject in enumerate(obj.get("subjects") or ()):
            faults += _subject(subject, f"subjects[{index}]", namespaced=namespaced)
        if old is not None and reference != old.get("roleRef"):
            shown = {"APIGroup": reference["apiGroup"], "Kind": reference["kind"], "Name": reference["name"]}
            faults.append(FieldError.invalid("roleRef", shown, "cannot change roleRef"))
        return faults

    return check


def _subject(subject: Object, field: str, *, namespaced: bool) -> list[FieldError]:
    faults: list[FieldError] = []
    name, kind = subject.get("name", ""), subject.get("kind", "")
    if not name:
        faults.append(FieldError.required(f"{field}.name"))
    if kind == "ServiceAccount":
        faults += [FieldError.invalid(f"{field}.name", name, fault) for fault in subdomain_faults(name) if name]
        if subject.get("apiGroup"):
            faults.append(FieldError.not_supported(f"{field}.apiGroup", subject["apiGroup"], ("",)))
        if not subject.get("namespace") and not namespaced:
            faults.append(FieldError.required(f"{field}.namespace"))
    elif kind in ("User", "Group"):
        if subject.get("apiGroup") != _RBAC:
            faults.append(FieldError.not_supported(f"{field}.apiGroup", subject.get("apiGroup", ""), (_RBAC,)))
    else:
        faults.append(FieldError.not_supported(f"{field}.kind", kind, ("ServiceAccount", "User", "Group")))
    return faults


def _default_budget(obj: Object) -> None:
    obj.setdefault("spec", {})
    status = obj.setdefault("status", {})
    for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        status.setdefault(name, 0)


def _check_budget(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults: list[FieldError] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        shown = {
            "MinAvailable": spec["minAvailable"], "Selector": spec.get("selector"),
            "MaxUnavailable": spec["maxUnavailable"], "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }  # fmt: skip
        faults.append(FieldError.invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        if spec.get(name) is not None:
            faults += count_or_percent(spec[name], f"spec.{name}")
    faults += label_selector(spec.get("selector") or {}, "spec.selector")
    for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        count = obj["status"].get(name, 0)
        if count < 0:
            faults.append(FieldError.invalid(f"status.{name}", count, "must be greater than or equal to 0"))
    return [*faults, *one_of(spec, "spec", "unhealthyPodEvictionPolicy", ("AlwaysAllow", "IfHealthyBudget"))]


def _default_network_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _check_network_policy(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults = [*label_selector(spec.get("podSelector") or {}, "spec.podSelector")]
    for part, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(part) or ()):
            for place, peer in enumerate(rule.get(peers) or ()):
                if not peer:
                    where = f"spec.{part}[{index}].{peers}[{place}]"
                    faults.append(FieldError.required(where, "must specify a peer"))
    for index, name in enumerate(spec["policyTypes"]):
        if name not in ("Ingress", "Egress"):
            faults.append(FieldError.not_supported(f"spec.policyTypes[{index}]", name, ("Ingress", "Egress")))
    return faults


def _default_ingress(obj: Object) -> None:
    obj.setdefault("spec", {})
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _check_ingress(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    if not spec.get("defaultBackend") and not spec.get("rules"):
        return [FieldError.invalid("spec", None, "either `defaultBackend` or `rules` must be specified")]
    return [
        FieldError.required(f"spec.rules[{index}].http.paths[{place}].pathType", "pathType must be specified")
        for index, rule in enumerate(spec.get("rules") or ())
        for place, path in enumerate((rule.get("http") or {}).get("paths") or ())
        if not path.get("pathType")
    ]


def _default_autoscaler(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    spec.setdefault("maxReplicas", 0)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    status = obj.setdefault("status", {})
    status.setdefault("desiredReplicas", 0)
    status.setdefault("currentMetrics", None)


def _check_autoscaler(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    faults: list[FieldError] = []
    if spec["maxReplicas"] < 1:
        faults.append(FieldError.required("spec.maxReplicas", "must be set and greater than 0"))
    if spec["maxReplicas"] < spec["minReplicas"]:
        detail = "must be greater than or equal to `minReplicas`"
        faults.append(FieldError.invalid("spec.maxReplicas", spec["maxReplicas"], detail))
    target = spec.get("scaleTargetRef") or {}
    faults += [FieldError.required(f"spec.scaleTargetRef.{name}") for name in ("kind", "name") if not target.get(name)]
    if not target.get("apiVersion"):
        detail = "apiVersion must specify API group"
        faults.append(FieldError.invalid("spec.scaleTargetRef.apiVersion", "", detail))
    return faults


def _default_webhooks(mutating: bool) -> Callable[[Object], None]:
    def default(obj: Object) -> None:
        for webhook in obj.get("webhooks") or ():
            webhook.setdefault("failurePolicy", "Fail")
            webhook.setdefault("matchPolicy", "Equivalent")
            webhook.setdefault("namespaceSelector", {})
            webhook.setdefault("objectSelector", {})
            webhook.setdefault("timeoutSeconds", 10)
            if mutating:
                webhook.setdefault("reinvocationPolicy", "Never")
            service = webhook.setdefault("clientConfig", {}).get("service")
            if isinstance(service, dict):
                service.setdefault("port", 443)
            _default_rules(webhook.get("rules"))

    return default


def _default_rules(rules: Any) -> None:
    for rule in rules or ():
        rule.setdefault("scope", "*")


def _check_webhooks(obj: Object, old: Object | None) -> list[FieldError]:
    faults: list[FieldError] = []
    for index, webhook in enumerate(obj.get("webhooks") or ()):
        where, name = f"webhooks[{index}]", webhook.get("name", "")
        if len(name.split(".")) < 3:
            detail = "should be a domain with at least three segments separated by dots"
            faults.append(FieldError.invalid(f"{where}.name", name, detail))
        if not webhook.get("sideEffects"):
            faults.append(FieldError.required(f"{where}.sideEffects", "must specify one of None, NoneOnDryRun"))
        client = webhook["clientConfig"]
        if bool(client.get("url")) == bool(client.get("service")):
            faults.append(FieldError.required(f"{where}.clientConfig", "exactly one of url or service is required"))
        if not webhook.get("admissionReviewVersions"):
            faults.append(FieldError.required(f"{where}.admissionReviewVersions", "must specify one of v1, v1beta1"))
    return faults


def _default_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    constraints = spec.get("matchConstraints")
    if isinstance(constraints, dict):
        constraints.setdefault("namespaceSelector", {})
        constraints.setdefault("objectSelector", {})
        constraints.setdefault("matchPolicy", "Equivalent")
        _default_rules(constraints.get("resourceRules"))


def _empty(obj: Object) -> Any:
    return {}


POLICIES: dict[tuple[str, str], Rules] = {
    (_RBAC, "Role"): Rules(default=_default_role, check=_check_role(namespaced=True)),
    (_RBAC, "ClusterRole"): Rules(default=_default_role, check=_check_role(namespaced=False)),
    (_RBAC, "RoleBinding"): Rules(default=_default_binding, check=_check_binding(namespaced=True)),
    (_RBAC, "ClusterRoleBinding"): Rules(default=_default_binding, check=_check_binding(namespaced=False)),
    ("policy", "PodDisruptionBudget"): Rules(default=_default_budget, check=_check_budget),
    ("networking.k8s.io", "NetworkPolicy"): Rules(default=_default_network_policy, check=_check_network_policy),
    ("networking.k8s.io", "Ingress"): Rules(default=_default_ingress, check=_check_ingress),
    ("autoscaling", "HorizontalPodAutoscaler"): Rules(default=_default_autoscaler, check=_check_autoscaler),
    (_ADMISSION, "MutatingWebhookConfiguration"): Rules(
        default=_default_webhooks(mutating=True), check=_check_webhooks
    ),
    (_ADMISSION, "ValidatingWebhookConfiguration"): Rules(
        default=_default_webhooks(mutating=False), check=_check_webhooks
    ),
    (_ADMISSION, "ValidatingAdmissionPolicy"): Rules(default=_default_policy, status=_empty),
}
