"""What the manager needs to be allowed, asked of the API server at start, so that a missing rule is named, not idled over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.client import TransportError
from pyoperator.manager._errors import ManagerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from structlog.typing import FilteringBoundLogger

    from pyoperator.cache import Informer
    from pyoperator.client import Transport
    from pyoperator.leaderelection import ElectionConfig

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_TIMEOUT = 5.0
_AGAIN_AFTER = 30.0  # rights may come later: a role that is applied after the Deployment


@dataclass(frozen=True, slots=True)
class Permission:
    """Verbs on one resource. ``namespace`` "" is all; ``name`` "" is any object.

    ``loss`` says what is lost without it, if work goes on; by default none does.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    namespace: str = ""
    name: str = ""
    loss: str = ""

    @property
    def required(self) -> bool:
        """Whether nothing works without it."""
        return not self.loss

    @property
    def rule(self) -> str:
        """The RBAC rule that grants it, as a line of YAML."""
        parts = [f'apiGroups: ["{self.group}"]', f"resources: [{self.resource}]"]
        if self.name:
            parts.append(f"resourceNames: [{self.name}]")
        parts.append(f"verbs: [{', '.join(self.verbs)}]")
        return f"{{{', '.join(parts)}}}"

    @property
    def place(self) -> str:
        """The kind of role that the rule belongs into."""
        return f"a Role in the namespace {self.namespace}" if self.namespace else "a ClusterRole"

    def __str__(self) -> str:
        return f"not allowed to {', '.join(self.verbs)} {self.resource}: add {self.rule} to {self.place}"


def of_informers(informers: Iterable[Informer]) -> Iterator[Permission]:
    """Yield what informers need: list and watch, in each of their namespaces."""
    for informer in informers:
        resource = informer.resource
        for namespace in informer.namespaces:
            yield Permission(resource.gvk.group, resource.plural, ("list", "watch"), namespace)


def of_election(config: ElectionConfig) -> Iterator[Permission]:
    """Yield what an election needs; without watch it polls, and hand-over takes longer."""
    lease = Permission("coordination.k8s.io", "leases", ("get", "update"), config.namespace, config.name)
    yield lease
    # RBAC can't limit create to a name.
    yield replace(lease, verbs=("create",), name="")
    yield replace(lease, verbs=("watch",), loss="a hand-over takes longer")


def of_events(
    informers: Iterable[Informer], election: ElectionConfig | None, *, recorders: bool
) -> Iterator[Permission]:
    """Yield what recorders need: the election's in its Lease's namespace, others where the objects are that are watched.

    Those of objects without a namespace are kept in ``default``.
    """
    namespaces = set() if election is None else {election.namespace}
    if recorders:
        for informer in informers:
            namespaces.update(informer.namespaces if informer.resource.namespaced else ("default",))
    for namespace in ("",) if "" in namespaces else sorted(namespaces):
        yield Permission("events.k8s.io", "events", ("create", "patch"), namespace, loss="events are lost")


class PermissionCheck:
    """Ask with SelfSubjectAccessReviews, which every user may make, what is missing; log each once, with its rule.

    It runs beside the start, delays nothing, and never ends the process. While something is missing it asks again every
    30 s; a server that does not answer the question is taken to allow it. A service of the manager's life cycle.
    """

    def __init__(
        self, transport: Transport, wanted: Callable[[], Iterable[Permission]], logger: FilteringBoundLogger
    ) -> None:
        self._transport = transport
        self._wanted = wanted
        self._logger = logger
        self._missing: tuple[Permission, ...] = ()
        self._logged: set[Permission] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def missing(self) -> tuple[Permission, ...]:
        """What was not allowed when last asked."""
        return self._missing

    @property
    def problems(self) -> tuple[str, ...]:
        """What work waits for, in words."""
        return tuple(str(permission) for permission in self._missing if permission.required)

    def check(self) -> None:
        """Raise ManagerError while something required is missing: a readiness check."""
        if self.problems:
            raise ManagerError("; ".join(self.problems))

    def begin(self) -> None:
        """Start to ask; called once the API server answers."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="permission check")

    async def start(self) -> None:
        """Do nothing: asking begins once the API server answers."""

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        wanted = tuple(dict.fromkeys(self._wanted()))
        while True:
            found = [await self._lacking(permission) for permission in wanted]
            self._missing = tuple(permission for permission in found if permission is not None)
            for permission in self._missing:
                self._tell(permission)
            if not self._missing:
                if self._logged:
                    self._logger.info("all permissions are there now")
                return
            await asyncio.sleep(_AGAIN_AFTER)

    def _tell(self, permission: Permission) -> None:
        if permission in self._logged:
            return
        self._logged.add(permission)
        self._logger.warning(
            "permission missing",
            needed=f"{', '.join(permission.verbs)} {permission.resource}",
            add_rule=permission.rule,
            to=permission.place,
            effect="nothing works without it" if permission.required else f"works without it, but {permission.loss}",
        )

    async def _lacking(self, permission: Permission) -> Permission | None:
        verbs = tuple([verb for verb in permission.verbs if not await self._allowed(permission, verb)])
        return replace(permission, verbs=verbs) if verbs else None

    async def _allowed(self, permission: Permission, verb: str) -> bool:
        attributes = {
            "group": permission.group,
            "resource": permission.resource,
            "verb": verb,
            "namespace": permission.namespace,
            "name": permission.name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        try:
            answer = await self._transport.request("POST", _REVIEWS, body=msgspec.json.encode(review), timeout=_TIMEOUT)
            told: Any = msgspec.json.decode(answer.body) if answer.status in {200, 201} else None
        except (TransportError, msgspec.DecodeError):
            return True
        status = told.get("status") if isinstance(told, dict) else None
        return not isinstance(status, dict) or status.get("allowed") is not False

    def __repr__(self) -> str:
        return f"<PermissionCheck, {len(self._missing)} missing>"
