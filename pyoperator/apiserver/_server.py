"""The server core: a synchronous function from (state, request) to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver._bootstrap import bootstrap
from pyoperator.apiserver._crd_lifecycle import CRDLifecycle
from pyoperator.apiserver._documents import Documents
from pyoperator.apiserver._eviction import Evictions
from pyoperator.apiserver._eviction_body import read_eviction
from pyoperator.apiserver._negotiation import JSON, Wanted, decode_object, encode, negotiate
from pyoperator.apiserver._operations import Operations
from pyoperator.apiserver._options import ServerOptions
from pyoperator.apiserver._paths import Target, parse_target
from pyoperator.apiserver._reads import Reads
from pyoperator.apiserver._representation import Representation
from pyoperator.apiserver._request import APIRequest, APIResponse
from pyoperator.apiserver._system import SystemClient
from pyoperator.apiserver._target_rules import check_scope, is_allowed
from pyoperator.apiserver._writes import WriteRequest, Writes
from pyoperator.apiserver.access import (
    REVIEW_KINDS,
    Attributes,
    AuditEntry,
    Authenticator,
    Authorizer,
    Decision,
    Reviews,
    ServiceAccountTokens,
    User,
    check_escalation,
    forbidden,
    impersonated_user,
)
from pyoperator.apiserver.registry import Registry
from pyoperator.apiserver.storage import Store, reached
from pyoperator.clock import Randomness, SystemClock

if TYPE_CHECKING:
    from pyoperator.apiserver.registry import Kind
    from pyoperator.clock import Clock

_READ_VERBS = frozenset({"get", "list", "watch"})
# Subresources that need a process in a pod, or that this server does not have.
_ABSENT = frozenset({"attach", "exec", "portforward", "proxy", "log", "ephemeralcontainers", "resize"})


class _Attempt:
    """One attempt at a request: the answer, and what the audit log will say, gathered on the way.

    ``awaited``: the version that the store would have to reach for another answer.
    """

    __slots__ = ("attributes", "awaited", "decision", "impersonated", "received", "response", "user")

    def __init__(self, attributes: Attributes, *, received: float) -> None:
        self.attributes = attributes
        self.received = received
        self.response = APIResponse(500)
        self.awaited: int | None = None
        self.user: User | None = None
        self.impersonated: User | None = None
        self.decision: Decision | None = None


class APIServer:
    """An embedded Kubernetes API server without any I/O of its own.

    ``handle`` answers one request at once; a watch comes back as a subscription to iterate. Faces (HTTP, in-process)
    carry bytes to it. Not thread-safe: one event loop owns a server. Controllers (garbage collection, namespaces,
    workload simulation) run beside it, see ``pyoperator.apiserver.Controllers``.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        random: Randomness | None = None,
        options: ServerOptions | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.random: Randomness = random or Randomness()
        self.options: ServerOptions = options or ServerOptions()
        self.store: Store = Store(
            history=self.options.history,
            history_bytes=self.options.history_bytes,
            persistence=self.options.persistence,
        )
        self.registry: Registry = Registry()
        self.operations: Operations = Operations(self.store, self.registry, clock=self.clock, random=self.random)
        self._definitions = CRDLifecycle(self.store, self.registry, self.operations)
        self.system: SystemClient = SystemClient(
            self.store, self.registry, self.operations, after_write=self._definitions.settle
        )
        self.service_account_tokens: ServiceAccountTokens = ServiceAccountTokens(
            self.options.signing_key or self.random.randbytes(32),
            getter=self.system.get,
            clock=self.clock,
            random=self.random,
        )
        self.authenticator: Authenticator = Authenticator(
            tokens=self.options.tokens,
            token_file=self.options.token_file,
            service_accounts=self.service_account_tokens,
            anonymous=self.options.anonymous,
            clock=self.clock,
        )
        self._closed = False
        self._rights_version = 0
        self.authorizer: Authorizer = Authorizer(self.system.list, revision=lambda: self._rights_version)
        self.reviews: Reviews = Reviews(self.authorizer, self.authenticator, clock=self.clock)
        self._documents = Documents(self.registry)
        self._reads = Reads(
            self.store,
            self.operations,
            random=self.random,
            bookmark_interval=self.options.bookmark_interval,
            watch_list=self.options.watch_list,
            watch_buffer=self.options.watch_buffer,
        )
        self._writes = Writes(self.operations, self.registry)
        self._evictions = Evictions(self.operations, self.system, clock=self.clock)
        self.store.subscribe(self._note_rights)
        bootstrap(self.system)

    def _note_rights(self, change: Any) -> None:
        if change.new.gvk.group == "rbac.authorization.k8s.io":
            self._rights_version += 1

    def handle(self, request: APIRequest) -> APIResponse:
        """Answer one request; every failure is an answer too, never an exception."""
        attempt = self._attempt(request)
        self._audit(request, attempt)
        return attempt.response

    async def serve(self, request: APIRequest) -> APIResponse:
        """Answer as ``handle`` does, but give a version ahead of the store three seconds to come.

        So does the real server, whose watch cache may lag: only then it answers 504, "Too large resource version".
        """
        attempt = self._attempt(request)
        if attempt.awaited is not None and await reached(self.store, attempt.awaited):
            attempt = self._attempt(request)
        self._audit(request, attempt)
        return attempt.response

    def _attempt(self, request: APIRequest) -> _Attempt:
        query = _first_values(request.query)
        target = parse_target(request.method, request.path, query)
        attempt = _Attempt(_attributes(target), received=self.clock.wall())
        try:
            response = self._answer(request, query, target, attempt)
        except _status.StatusError as error:
            response = _failure(error)
            attempt.awaited = error.wanted if isinstance(error, _status.TooLargeResourceVersion) else None
        except _status.PlainAnswer as answer:
            response = APIResponse(answer.code, answer.text.encode(), {"content-type": "text/plain; charset=utf-8"})
        except RecursionError:
            response = _failure(_status.bad_request("the object is nested too deeply"))
        except Exception:
            # A fault of this server: the client gets a Status, the log the traceback.
            import structlog  # slow to import, and hardly ever needed

            log = structlog.get_logger("pyoperator.apiserver")
            log.exception("internal error", method=request.method, path=request.path)
            response = _failure(
                _status.StatusError(500, "InternalError", "Internal error occurred: see the server's log")
            )
        if request.method == "HEAD":
            response.body = b""
        self._definitions.settle()
        attempt.response = response
        return attempt

    # Access

    def _answer(self, request: APIRequest, query: dict[str, str], target: Target, attempt: _Attempt) -> APIResponse:
        if self._closed:
            # A handshake may end after the face has: nothing can be kept any more, and nothing was done.
            raise _status.StatusError(503, "ServiceUnavailable", "the server is shutting down", retry_after=1)
        if len(request.body) > self.options.body_limit:
            raise _status.entity_too_large(self.options.body_limit)
        user = self.authenticator.authenticate(request.credential)
        if user is None:
            raise _status.unauthorized()
        attempt.user = user
        acting = impersonated_user(self.authorizer, user, request.headers, attempt.attributes)
        if acting is not None:
            attempt.impersonated = user = acting
        decision = attempt.decision = self.authorizer.authorize(user, attempt.attributes)
        if not decision.allowed:
            raise forbidden(user, attempt.attributes, decision.reason)
        if request.method == "HEAD" and target.is_resource:
            raise _status.method_not_allowed()
        if not target.is_resource:
            return self._documents.answer(request, query)
        return self._resource(request, query, target, user)

    def _resource(self, request: APIRequest, query: dict[str, str], target: Target, user: User) -> APIResponse:
        kind = self.registry.lookup(target.group, target.version, target.resource)
        if kind is None or target.too_deep:
            raise self._unknown(target)
        check_scope(kind, target)
        wanted = negotiate(request.headers.get("accept", ""), pretty=query.get("pretty", "") in {"1", "true"})
        response = self._of_kind(kind, request, query, target, user, wanted)
        if kind.deprecation_warning:
            response.warnings = (kind.deprecation_warning, *response.warnings)
        return response

    def _of_kind(
        self, kind: Kind, request: APIRequest, query: dict[str, str], target: Target, user: User, wanted: Wanted
    ) -> APIResponse:
        if kind.gvk.kind in REVIEW_KINDS:
            return self._review(kind, request, target, wanted, user)
        if target.subresource:
            special = self._special_subresource(kind, request, target, wanted)
            if special is not None:
                return special
        elif not is_allowed(kind, target):
            raise _status.method_not_allowed()
        view = Representation(
            kind, wanted, self.operations, self.registry, clock=self.clock, include=query.get("includeObject", "")
        )
        if target.verb in _READ_VERBS:
            return self._read(kind, target, query, view)

        def check(new: dict[str, Any], old: dict[str, Any] | None) -> None:
            check_escalation(self.authorizer, user, new, old)

        write = WriteRequest(
            kind=kind,
            target=target,
            query=query,
            body=request.body,
            content_type=request.headers.get("content-type", ""),
            wanted=wanted,
            view=view,
            check=check if kind.gvk.group == "rbac.authorization.k8s.io" else None,
        )
        match target.verb:
            case "create":
                return self._writes.create(write)
            case "update":
                return self._writes.update(write)
            case "patch":
                return self._writes.patch(write)
            case "delete":
                return self._writes.delete(write)
            case "deletecollection":
                return self._writes.delete_collection(write)
        raise _status.method_not_allowed()

    def _unknown(self, target: Target) -> Exception:
        """Return what a resource that is not served answers: text where no built-in group has the version."""
        for kind in self.registry.kinds():
            if not kind.custom and kind.gvk.group == target.group:
                return _status.unknown_resource()
        return _status.PlainAnswer.page_not_found()

    def _read(self, kind: Kind, target: Target, query: dict[str, str], view: Representation) -> APIResponse:
        match target.verb:
            case "get":
                return self._reads.get(kind, target, query, view)
            case "list":
                return self._reads.many(kind, target, query, view)
            case _:
                return self._reads.watch(kind, target, query, view)

    def _special_subresource(
        self, kind: Kind, request: APIRequest, target: Target, wanted: Wanted
    ) -> APIResponse | None:
        """Answer subresources that are no view of the object's own fields; None for those that are."""
        name, verb = target.subresource, target.verb
        if name not in kind.subresources:
            if kind.custom:
                raise _status.not_found(kind.gvk.group, kind.plural, target.name)
            raise self._unknown(target)
        if name == "token" and verb == "create":
            body = decode_object(request.body, request.headers.get("content-type", ""))
            issued = self.service_account_tokens.issue(
                target.namespace, target.name, body if isinstance(body, dict) else {}
            )
            return APIResponse(201, encode(issued, wanted), {"content-type": wanted.media_type})
        if name == "eviction":
            if verb != "create":
                raise _status.method_not_allowed()
            asked = read_eviction(target, dict(request.query), request.body, request.headers.get("content-type", ""))
            done = self._evictions.evict(kind, asked)
            return APIResponse(201, encode(done, wanted), {"content-type": wanted.media_type}, warnings=asked.warnings)
        if name in _ABSENT or name in {"binding", "token"}:
            self.operations.get(kind, target.namespace, target.name)
            raise _status.StatusError(
                501,
                "NotImplemented",
                f"{kind.plural}/{name} is not served: this is an embedded server, pods do not run",
            )
        if name == "scale" and verb == "get":
            from pyoperator.apiserver.registry import read_scale

            stored = self.operations.get(kind, target.namespace, target.name)
            scale = read_scale(kind, self.operations.view(kind, stored))
            return APIResponse(200, encode(scale, wanted), {"content-type": wanted.media_type})
        allowed = {"update"} if name == "finalize" else {"get", "update", "patch"}
        if verb not in allowed:
            raise _status.method_not_allowed()
        return None

    def _review(self, kind: Kind, request: APIRequest, target: Target, wanted: Wanted, user: User) -> APIResponse:
        if target.verb != "create":
            raise _status.method_not_allowed()
        obj = decode_object(request.body, request.headers.get("content-type", ""))
        if not isinstance(obj, dict):
            raise _status.bad_request(f"the body is not a {kind.gvk.kind}")
        answer = self.reviews.handle_review(kind.gvk.kind, obj, user, namespace=target.namespace)
        return APIResponse(201, encode(answer, wanted), {"content-type": wanted.media_type})

    # Audit

    def _audit(self, request: APIRequest, attempt: _Attempt) -> None:
        response = attempt.response
        log = self.options.audit
        audit_id = self.random.uuid()
        response.headers["audit-id"] = audit_id
        if log is None or self._closed:
            return
        uri = quote(request.path, safe="/:@!$&'()*+,;=~") + (f"?{urlencode(request.query)}" if request.query else "")

        def record(stage: Any) -> None:
            log.record(
                AuditEntry(
                    audit_id=audit_id,
                    request_uri=uri,
                    received=attempt.received,
                    completed=self.clock.wall(),
                    attributes=attempt.attributes,
                    code=response.status,
                    user=attempt.user,
                    impersonated=attempt.impersonated,
                    source_ips=(request.source_address,),
                    user_agent=request.headers.get("user-agent", ""),
                    decision=attempt.decision,
                    request_body=request.body,
                    response_body=response.body,
                    stage=stage,
                )
            )

        if response.watch is None:
            record("ResponseComplete")
            return
        record("ResponseStarted")
        response.watch.on_close(lambda: record("ResponseComplete"))

    def end_watches(self) -> None:
        """End every watch after what it has buffered: what a stopping face does first."""
        self.store.close_watchers()

    def close(self) -> None:
        """End every watch and release what persistence and the audit log hold; later requests are answered 503."""
        self._closed = True
        self.store.close()
        if self.options.audit is not None:
            self.options.audit.close()

    def __repr__(self) -> str:
        return f"APIServer({self.store!r}, {self.registry!r})"


def _first_values(query: Any) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in query:
        values.setdefault(name, value)
    return values


def _attributes(target: Target) -> Attributes:
    return Attributes(
        verb=target.verb,
        group=target.group,
        resource=target.resource,
        subresource=target.subresource,
        namespace=target.namespace,
        name=target.name,
        path=target.path,
        version=target.version,
    )


def _failure(error: _status.StatusError) -> APIResponse:
    headers = {"content-type": JSON}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return APIResponse(error.code, msgspec.json.encode(error.body()), headers)
