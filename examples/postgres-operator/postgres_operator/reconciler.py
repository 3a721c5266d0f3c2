"""The body of the loop: look at one Postgres, bring its children to what it asks for, say what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from postgres_operator import configuration, credentials, deletion, instances, names, services, volumes
from postgres_operator.api import Postgres
from postgres_operator.conditions import Observation, status_of
from postgres_operator.ensure import (
    Ensured,
    LiveOwner,
    NameTakenError,
    OwnerGoneError,
    check_ownership,
    ensure,
)
from pyoperator.client import NotFound
from pyoperator.controller import Result
from pyoperator.objects import (
    Unstructured,
    add_finalizer,
    has_finalizer,
    metadata_of,
    remove_finalizer,
    set_controller_reference,
)

if TYPE_CHECKING:
    from pyoperator.client import Client
    from pyoperator.clock import Clock
    from pyoperator.controller import Request
    from pyoperator.events import EventRecorder


class PostgresReconciler:
    """Reconcile Postgres objects; idempotent: a second call with nothing changed writes nothing.

    ``client`` reads from the cache; ``reader`` asks the server the questions whose answer must not be out of date: is
    the Postgres still there before a child is created or adopted, are there volumes before passwords are made, and which are there
    when they are to be deleted.
    """

    def __init__(self, client: Client, reader: Client, recorder: EventRecorder, clock: Clock) -> None:
        self._client = client
        self._reader = reader
        self._recorder = recorder
        self._clock = clock

    async def reconcile(self, request: Request) -> Result | None:
        """Handle one key; errors and conflicts are raised, and the controller comes back with backoff."""
        try:
            postgres = await self._client.get(Postgres, request)
        except NotFound:
            return None
        if postgres.metadata.deletion_timestamp:
            await self._delete(postgres)
            return None
        if not has_finalizer(postgres, names.FINALIZER):
            # First of all: from the first child on there must be somebody to clean up. The update is an event of its
            # own, but going on here at once saves a round.
            add_finalizer(postgres, names.FINALIZER)
            postgres = await self._client.update(postgres)
        seen = Observation()
        try:
            await self._bring_about(postgres, seen)
        except OwnerGoneError:
            return Result(backoff=True)  # until the cache has heard of it
        await self._report(postgres, seen)
        return None

    async def _delete(self, postgres: Postgres) -> None:
        if not has_finalizer(postgres, names.FINALIZER):
            return
        await deletion.clean_up(self._client, self._reader, postgres)
        remove_finalizer(postgres, names.FINALIZER)
        await self._client.update(postgres)

    async def _bring_about(self, postgres: Postgres, seen: Observation) -> None:
        fault = names.name_fault(postgres.metadata.name)
        if fault is not None:
            seen.refuse("Ready", "InvalidName", f"{fault}; create it anew under another name")
            return
        seen.stateful_set = await self._find(postgres)
        claims = await volumes.claims_of(self._client, postgres)
        running = volumes.running_version(claims, seen.stateful_set)
        seen.version = running or postgres.spec.version
        effective = postgres
        if seen.version != postgres.spec.version:
            seen.refuse(
                "VersionAccepted",
                "MajorChangeRefused",
                f"the volumes were written by PostgreSQL {seen.version}; {postgres.spec.version} can't read them in "
                f"place: set spec.version back to {seen.version!r}, and dump and restore into a new Postgres",
            )
            effective = postgres.model_copy(deep=True)
            effective.spec.version = seen.version  # type: ignore[assignment]  # a label that we wrote from a valid spec
        faults = configuration.parameter_faults(postgres)
        if faults:
            seen.refuse("ParametersAccepted", "ParametersRefused", f"left out of spec.parameters: {'; '.join(faults)}")
        owner = LiveOwner(postgres, self._reader)
        try:
            if await self._ensure_credentials(owner, seen, has_data=bool(claims)):
                await self._ensure_children(owner, effective, seen)
        except NameTakenError as error:
            seen.refuse("Ready", "NameTaken", str(error))
        for name in await volumes.grow(self._client, postgres, claims, seen):
            self._recorder.event(postgres, "Normal", "VolumeGrown", f"raised {name} to {postgres.spec.storage.size}")

    async def _find(self, postgres: Postgres) -> Unstructured | None:
        try:
            return await self._client.get(names.STATEFUL_SET, postgres.key)
        except NotFound:
            return None

    async def _ensure_credentials(self, owner: LiveOwner, seen: Observation, *, has_data: bool) -> bool:
        """Make the Secret once, adopt one that was retained; tell whether instances can be started with it."""
        postgres = owner.cached
        key = postgres.key._replace(name=names.credentials(postgres.metadata.name))
        try:
            secret = await self._client.get(names.SECRET, key)
        except NotFound:
            return await self._create_credentials(owner, seen, has_data=has_data)
        check_ownership(postgres, secret)
        missing = credentials.missing_keys(secret)
        if missing:
            seen.refuse(
                "Ready",
                "CredentialsIncomplete",
                f"Secret {key.name} lacks {', '.join(missing)}: put them back; they are never generated anew, since the "
                "database knows the old ones",
            )
            return False
        faults = credentials.user_faults(postgres)
        if metadata_of(secret).annotations.get(names.USERS_ANNOTATION) != credentials.users_checksum(postgres):
            seen.refuse(
                "UsersApplied",
                "InitOnly",
                "spec.users or spec.databases have changed since the database was initialised and are applied only then: "
                "make the change with SQL, or set them back" + "".join(f"; {fault}" for fault in faults),
            )
        await self._adopt(owner, secret)
        return True

    async def _create_credentials(self, owner: LiveOwner, seen: Observation, *, has_data: bool) -> bool:
        postgres = owner.cached
        if has_data or await volumes.claims_of(self._reader, postgres):
            seen.refuse(
                "Ready",
                "CredentialsLost",
                f"Secret {names.credentials(postgres.metadata.name)} is gone and the volumes know its passwords: restore "
                "it from a backup; new passwords would not fit",
            )
            return False
        faults = credentials.user_faults(postgres)
        if faults:
            seen.refuse("Ready", "InvalidUsers", f"{'; '.join(faults)}: change spec.users or spec.databases")
            return False
        await owner.confirm()
        secret = credentials.build(postgres)
        set_controller_reference(postgres, secret)
        await self._client.create(secret)
        self._recorder.event(postgres, "Normal", "Provisioning", "generated credentials and started to create children")
        return True

    async def _adopt(self, owner: LiveOwner, secret: Unstructured) -> None:
        """Give a Secret its labels and owner back; its data stay as they are."""
        postgres = owner.cached
        wanted = Unstructured(secret)
        wanted["metadata"] = dict(secret.metadata)
        set_controller_reference(postgres, wanted)
        old = metadata_of(secret).labels
        kept = {name: value for name, value in old.items() if name != names.RETAINED_LABEL}
        wanted.metadata["labels"] = {**kept, **names.labels(postgres, "credentials")}
        if metadata_of(wanted) != metadata_of(secret):
            await owner.confirm()
            await self._client.update(wanted)
            self._recorder.event(postgres, "Normal", "Repaired", f"took Secret {secret.name} over again")

    async def _ensure_children(self, owner: LiveOwner, postgres: Postgres, seen: Observation) -> None:
        config_map = configuration.build(postgres)
        checksum = configuration.checksum(config_map)
        for desired in (
            config_map,
            services.build_headless(postgres),
            services.build_read_write(postgres),
            services.build_read_only(postgres),
            services.build_disruption_budget(postgres),
        ):
            self._tell(postgres, seen, await ensure(self._client, owner, desired))
        result = await ensure(
            self._client,
            owner,
            instances.build(postgres, config_checksum=checksum),
            fixed=("volumeClaimTemplates", "serviceName", "selector", "podManagementPolicy"),
        )
        self._tell(postgres, seen, result)
        seen.stateful_set = result.live

    def _tell(self, postgres: Postgres, seen: Observation, result: Ensured) -> None:
        if result.outcome not in {"created", "updated"}:
            return
        observed = postgres.status.observed_generation if postgres.status else None
        if observed == postgres.metadata.generation:
            # Nothing new was asked for, so somebody else had changed or deleted it.
            self._recorder.event(
                postgres, "Normal", "Repaired", f"{result.outcome} {result.live.gvk.kind} {result.live.name} again"
            )

    async def _report(self, postgres: Postgres, seen: Observation) -> None:
        old = postgres.status
        new = status_of(postgres, seen, now=self._clock.wall())
        if old == new:
            return
        changed = postgres.model_copy()
        changed.status = new
        await self._client.patch_status_from(postgres, changed)
        before = {condition.type: condition.status for condition in (old.conditions if old else [])}
        for condition in new.conditions:
            if before.get(condition.type) == condition.status:
                continue
            if condition.type == "Ready" and (condition.status == "True" or before.get("Ready") == "True"):
                severity: Literal["Normal", "Warning"] = "Normal" if condition.status == "True" else "Warning"
                self._recorder.event(postgres, severity, condition.reason, condition.message)
            elif condition.type == "Degraded" and condition.status == "True":
                self._recorder.event(postgres, "Warning", condition.reason, condition.message)
