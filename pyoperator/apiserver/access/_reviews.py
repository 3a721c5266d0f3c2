"""Reviews: questions about identity and access, asked by creating objects that are never stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver._status import bad_request, invalid
from pyoperator.apiserver.access._authorizer import Attributes
from pyoperator.apiserver.access._identity import User
from pyoperator.objects import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver.access._authenticator import Authenticator
    from pyoperator.apiserver.access._authorizer import Authorizer
    from pyoperator.clock import Clock

_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"

REVIEW_KINDS = frozenset(
    {
        "LocalSubjectAccessReview",
        "SelfSubjectAccessReview",
        "SelfSubjectReview",
        "SelfSubjectRulesReview",
        "SubjectAccessReview",
        "TokenReview",
    }
)


@dataclass(frozen=True, slots=True)
class _Fault:
    field: str
    message: str
    reason: str = "FieldValueInvalid"


class Reviews:
    """Answer the kinds of :data:`REVIEW_KINDS`."""

    def __init__(self, authorizer: Authorizer, authenticator: Authenticator, *, clock: Clock) -> None:
        self._authorizer = authorizer
        self._authenticator = authenticator
        self._clock = clock

    def handle_review(self, kind: str, obj: Mapping[str, Any], user: User, *, namespace: str = "") -> dict[str, Any]:
        """Return the object with its status filled in.

        ``user`` is who asks (the impersonated user, if any), ``namespace`` that of the request's path. Raises
        StatusError 400 or 422 for a question that makes no sense.
        """
        if kind not in REVIEW_KINDS:
            raise bad_request(f"{kind} is not a review: reviews are {', '.join(sorted(REVIEW_KINDS))}")
        match kind:
            case "TokenReview":
                return self._token(obj)
            case "SelfSubjectReview":
                return _answer(
                    _AUTHENTICATION,
                    kind,
                    {"creationTimestamp": format_time(self._clock.wall())},
                    None,
                    {"userInfo": user.info()},
                )
            case "SelfSubjectRulesReview":
                return self._rules(obj, user)
            case "SelfSubjectAccessReview":
                return self._access(kind, obj, user, "")
            case _:
                return self._access(kind, obj, None, namespace)

    def _token(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        spec = _spec(obj)
        token = spec.get("token")
        if not isinstance(token, str) or not token:
            raise bad_request("token is required for TokenReview in authentication")
        found = self._authenticator.review_token(token, tuple(spec.get("audiences") or ()))
        status: dict[str, Any]
        if found is None:
            status = {"user": {}, "error": "invalid bearer token"}
        else:
            status = {"authenticated": True, "user": found[0].info(), "audiences": list(found[1])}
        return _answer(_AUTHENTICATION, "TokenReview", _metadata(obj), spec, status)

    def _rules(self, obj: Mapping[str, Any], user: User) -> dict[str, Any]:
        namespace = _spec(obj).get("namespace")
        if not namespace or not isinstance(namespace, str):
            raise bad_request("no namespace on request")
        rules, errors = self._authorizer.rules_for(user, namespace)
        status: dict[str, Any] = {
            "resourceRules": [rule.shape() for rule in rules if rule.resources],
            "nonResourceRules": [rule.shape() for rule in rules if rule.urls],
            "incomplete": bool(errors),
        }
        if errors:
            status["evaluationError"] = ", ".join(errors)
        return _answer(_AUTHORIZATION, "SelfSubjectRulesReview", {}, {}, status)

    def _access(self, kind: str, obj: Mapping[str, Any], user: User | None, namespace: str) -> dict[str, Any]:
        spec, metadata = _spec(obj), _metadata(obj)
        faults = _faults(kind, spec, namespace)
        if faults:
            raise invalid(_AUTHORIZATION, "", "", faults)
        if kind == "LocalSubjectAccessReview":
            metadata = {**metadata, "namespace": namespace}
        asked = user or User(
            str(spec.get("user") or ""),
            str(spec.get("uid") or ""),
            tuple(spec.get("groups") or ()),
            {key: tuple(values) for key, values in (spec.get("extra") or {}).items()},
        )
        decision = self._authorizer.authorize(asked, _attributes(spec))
        status: dict[str, Any] = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return _answer(_AUTHORIZATION, kind, metadata, spec, status)


def _answer(
    group: str, kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any] | None, status: Mapping[str, Any]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": dict(metadata)}
    if spec is not None:
        answer["spec"] = dict(spec)
    answer["status"] = dict(status)
    return answer


def _metadata(obj: Mapping[str, Any]) -> dict[str, Any]:
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    return metadata


def _spec(obj: Mapping[str, Any]) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request("spec must be an object")
    for name in ("resourceAttributes", "nonResourceAttributes", "extra"):
        if spec.get(name) is not None and not isinstance(spec[name], dict):
            raise bad_request(f"spec.{name} must be an object")
    for name in ("groups", "audiences"):
        values = spec.get(name) or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise bad_request(f"spec.{name} must be a list of strings")
    if not all(isinstance(values, list) for values in (spec.get("extra") or {}).values()):
        raise bad_request("spec.extra must map each key to a list of strings")
    return spec


def _faults(kind: str, spec: Mapping[str, Any], namespace: str) -> list[_Fault]:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    shown = msgspec.json.encode({"Path": (other or {}).get("path", ""), "Verb": (other or {}).get("verb", "")}).decode()
    faults: list[_Fault] = []
    if resource is not None and other is not None:
        what = f"Invalid value: {shown}: cannot be specified in combination with resourceAttributes"
        faults.append(_Fault("spec.nonResourceAttributes", what))
    if resource is None and other is None:
        what = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        faults.append(_Fault("spec.resourceAttributes", what))
    if kind != "SelfSubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        faults.append(_Fault("spec.user", 'Invalid value: "": at least one of user or group must be specified'))
    if kind == "LocalSubjectAccessReview":
        if resource is not None and (resource.get("namespace") or "") != namespace:
            what = f'Invalid value: "{resource.get("namespace") or ""}": must match metadata.namespace'
            faults.append(_Fault("spec.resourceAttributes.namespace", what))
        if other is not None:
            what = f"Invalid value: {shown}: disallowed on this kind of request"
            faults.append(_Fault("spec.nonResourceAttributes", what))
    return faults


def _attributes(spec: Mapping[str, Any]) -> Attributes:
    resource = spec.get("resourceAttributes")
    if resource is not None:
        fields = ("verb", "group", "resource", "subresource", "namespace", "name", "version")
        return Attributes(**{field: str(resource.get(field) or "") for field in fields})
    other = spec.get("nonResourceAttributes") or {}
    return Attributes(str(other.get("verb") or ""), path=str(other.get("path") or ""))
