"""Service account tokens: signed by the server's own key, bound to an audience, a time and an account."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver._status import bad_request, invalid, not_found
from pyoperator.apiserver.access._identity import User, service_account_groups, service_account_user_name
from pyoperator.objects import GroupVersionKind, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyoperator.clock import Clock, Randomness

    ObjectGetter = Callable[[GroupVersionKind, str, str], Mapping[str, Any] | None]

DEFAULT_ISSUER = "https://kubernetes.default.svc"

_SERVICE_ACCOUNT = GroupVersionKind("", "v1", "ServiceAccount")
_BINDABLE = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
_EXTRA = "authentication.kubernetes.io/"
_MIN_SECONDS = 600
_MAX_SECONDS = 1 << 32


@dataclass(frozen=True, slots=True)
class _Fault:
    field: str
    message: str
    reason: str = "FieldValueInvalid"


class ServiceAccountTokens:
    """Issue and verify JSON Web Tokens (HS256) for service accounts.

    ``key`` is the server's secret, at least 32 bytes. ``getter(gvk, namespace, name)`` reads an object: a token is good
    only while its account (and the pod, secret or node it is bound to) exists with the same uid.
    """

    def __init__(
        self,
        key: bytes,
        *,
        getter: ObjectGetter,
        clock: Clock,
        random: Randomness,
        issuer: str = DEFAULT_ISSUER,
        audiences: Sequence[str] = (),
    ) -> None:
        if len(key) < 32:
            raise ValueError("the signing key of service account tokens needs at least 32 bytes")
        self._key = key
        self._getter = getter
        self._clock = clock
        self._random = random
        self.issuer = issuer
        self.audiences: tuple[str, ...] = tuple(audiences) or (issuer,)
        self._header = _encode(msgspec.json.encode({"alg": "HS256", "kid": hashlib.sha256(key).hexdigest()[:16]}))

    def issue(self, namespace: str, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a TokenRequest for an account; raises StatusError (404 without the account, 422 for a bad spec)."""
        account = self._getter(_SERVICE_ACCOUNT, namespace, name)
        if account is None:
            raise not_found("", "serviceaccounts", name)
        spec = request.get("spec") or {}
        if not isinstance(spec, dict):
            raise bad_request("TokenRequest: spec must be an object")
        seconds = 3600 if spec.get("expirationSeconds") is None else spec["expirationSeconds"]
        _check_seconds(seconds)
        audiences = list(spec.get("audiences") or self.audiences)
        uid = (account.get("metadata") or {}).get("uid", "")
        now = int(self._clock.wall())
        claims: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        reference = spec.get("boundObjectRef")
        if reference:
            claims[str(reference.get("kind", "")).lower()] = self._bound(namespace, reference)
        token = self._sign(
            {
                "aud": audiences,
                "exp": now + seconds,
                "iat": now,
                "iss": self.issuer,
                "jti": self._random.uuid(),
                "kubernetes.io": claims,
                "nbf": now,
                "sub": service_account_user_name(namespace, name),
            }
        )
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": format_time(now)},
            "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference or None},
            "status": {"token": token, "expirationTimestamp": format_time(now + seconds)},
        }

    def verify(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]] | None:
        """Return the user and the audiences shared with ``audiences`` (default: the server's own), None if not good."""
        claims = self._open(token)
        if claims is None or claims.get("iss") != self.issuer:
            return None
        now = self._clock.wall()
        if not (_number(claims.get("nbf")) <= now < _number(claims.get("exp"))):
            return None
        shared = tuple(audience for audience in audiences or self.audiences if audience in (claims.get("aud") or ()))
        if not shared:
            return None
        private = claims.get("kubernetes.io") or {}
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        name, uid = account.get("name", ""), account.get("uid", "")
        if not self._alive(_SERVICE_ACCOUNT, namespace, name, uid):
            return None
        extra: dict[str, tuple[str, ...]] = {f"{_EXTRA}credential-id": (f"JTI={claims.get('jti', '')}",)}
        for kind in _BINDABLE:
            bound = private.get(kind.lower())
            if bound is None:
                continue
            gvk = GroupVersionKind("", "v1", kind)
            if not self._alive(gvk, "" if kind == "Node" else namespace, bound.get("name", ""), bound.get("uid", "")):
                return None
            if kind != "Secret":
                extra[f"{_EXTRA}{kind.lower()}-name"] = (bound.get("name", ""),)
                extra[f"{_EXTRA}{kind.lower()}-uid"] = (bound.get("uid", ""),)
        user = User(service_account_user_name(namespace, name), uid, service_account_groups(namespace), extra)
        return user, shared

    def _alive(self, gvk: GroupVersionKind, namespace: str, name: str, uid: str) -> bool:
        found = self._getter(gvk, namespace, name)
        return found is not None and (found.get("metadata") or {}).get("uid") == uid

    def _bound(self, namespace: str, reference: Mapping[str, Any]) -> dict[str, str]:
        kind, name = str(reference.get("kind", "")), str(reference.get("name", ""))
        if kind not in _BINDABLE:
            message = f"cannot bind token for serviceaccount to object of type /v1, Kind={kind}"
            raise bad_request(message)
        found = self._getter(GroupVersionKind("", "v1", kind), "" if kind == "Node" else namespace, name)
        if found is None:
            raise not_found("", _BINDABLE[kind], name)
        uid = str((found.get("metadata") or {}).get("uid", ""))
        if reference.get("uid") and reference["uid"] != uid:
            raise bad_request(
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                f"The object might have been deleted and then recreated"
            )
        return {"name": name, "uid": uid}

    def _sign(self, claims: Mapping[str, Any]) -> str:
        signed = f"{self._header}.{_encode(msgspec.json.encode(claims))}"
        return f"{signed}.{_encode(self._signature(signed))}"

    def _open(self, token: str) -> dict[str, Any] | None:
        signed, _, signature = token.rpartition(".")
        header, separator, payload = signed.partition(".")
        # Only the header this server writes is accepted: the token never chooses its algorithm.
        if not separator or header != self._header:
            return None
        try:
            if not hmac.compare_digest(_decode(signature), self._signature(signed)):
                return None
            claims = msgspec.json.decode(_decode(payload))
        except (ValueError, msgspec.DecodeError):
            return None
        return claims if isinstance(claims, dict) else None

    def _signature(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode("ascii", "replace"), "sha256")

    def __repr__(self) -> str:
        return f"ServiceAccountTokens(issuer={self.issuer!r})"


def _check_seconds(seconds: Any) -> None:
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise bad_request("TokenRequest: spec.expirationSeconds must be an integer")
    faults: list[_Fault] = []
    if seconds < _MIN_SECONDS:
        what = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
        faults.append(_Fault("spec.expirationSeconds", what))
    elif seconds > _MAX_SECONDS:
        what = f"Too long: may not be more than {_MAX_SECONDS} bytes"
        faults.append(_Fault("spec.expirationSeconds", what, "FieldValueTooLong"))
    if faults:
        raise invalid("authentication.k8s.io", "TokenRequest", "", faults)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    # altchars with validation: plain urlsafe_b64decode skips characters it does not know.
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
