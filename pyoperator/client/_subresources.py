"""Subresources: status, scale, and what pods and service accounts offer beyond the common verbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import msgspec

from pyoperator.client._patches import MergePatch
from pyoperator.objects import GroupVersionKind, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from pyoperator.client._client import Client
    from pyoperator.client._options import DeleteOptions, ReadOptions, WriteOptions
    from pyoperator.client._patches import Patch
    from pyoperator.client._reader import Key
    from pyoperator.objects import Unstructured

T = TypeVar("T")

_POD = GroupVersionKind("", "v1", "Pod")
_SERVICE_ACCOUNT = GroupVersionKind("", "v1", "ServiceAccount")
_WRITE_TIMEOUT = 30.0


class SubresourceClient:
    """Read and write one subresource of any kind; the client's options apply."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    @overload
    async def get(self, kind: GroupVersionKind, key: Key, **options: Unpack[ReadOptions]) -> Unstructured: ...
    @overload
    async def get(self, kind: type[T], key: Key, **options: Unpack[ReadOptions]) -> T: ...
    async def get(self, kind: Any, key: Key, **options: Unpack[ReadOptions]) -> Any:
        """Read the subresource, as an object of ``kind``."""
        return await self._client.get(kind, key, subresource=self.name, **options)

    async def update(self, obj: T, **options: Unpack[WriteOptions]) -> T:
        """Replace the subresource by that of ``obj``; raises Conflict."""
        return await self._client.update(obj, subresource=self.name, **options)

    @overload
    async def patch(
        self, kind: GroupVersionKind, key: Key, patch: Patch, **options: Unpack[WriteOptions]
    ) -> Unstructured: ...
    @overload
    async def patch(self, kind: type[T], key: Key, patch: Patch, **options: Unpack[WriteOptions]) -> T: ...
    @overload
    async def patch(self, kind: T, key: Key | None, patch: Patch, **options: Unpack[WriteOptions]) -> T: ...
    async def patch(self, kind: Any, key: Any, patch: Patch, **options: Unpack[WriteOptions]) -> Any:
        """Change the subresource by a patch."""
        return await self._client.patch(kind, key, patch, subresource=self.name, **options)

    async def patch_from(
        self, original: T, modified: T, *, optimistic_lock: bool = True, **options: Unpack[WriteOptions]
    ) -> T:
        """Send the difference between two states as a merge patch, or nothing."""
        return await self._client.patch_from(
            original, modified, subresource=self.name, optimistic_lock=optimistic_lock, **options
        )

    async def apply(self, obj: T, *, force: bool = False, **options: Unpack[WriteOptions]) -> T:
        """Apply the subresource of ``obj`` server-side."""
        return await self._client.apply(obj, force=force, subresource=self.name, **options)

    async def create(
        self, kind: Any, key: Key, document: dict[str, Any], **options: Unpack[WriteOptions]
    ) -> dict[str, Any]:
        """POST ``document`` to the subresource and return the answer: for those that are actions, like eviction."""
        resource = await self._client.resource(kind)
        full = self._client.complete_key(resource, key)
        response = await self._client.raw(
            "POST",
            resource.path(full.namespace, full.name, self.name),
            query=self._client._write_query(options),
            body=msgspec.json.encode(document),
            timeout=options.get("timeout", _WRITE_TIMEOUT),
        )
        return cast("dict[str, Any]", msgspec.json.decode(response.body))

    async def replicas(self, kind: Any, key: Key, **options: Unpack[ReadOptions]) -> Scale:
        """Read the scale subresource."""
        resource = await self._client.resource(kind)
        full = self._client.complete_key(resource, key)
        response = await self._client.raw(
            "GET", resource.path(full.namespace, full.name, "scale"), timeout=options.get("timeout", _WRITE_TIMEOUT)
        )
        return _read_scale(response.body)

    async def set_replicas(self, kind: Any, key: Key, replicas: int, **options: Unpack[WriteOptions]) -> Scale:
        """Scale to ``replicas`` whatever it was before."""
        resource = await self._client.resource(kind)
        full = self._client.complete_key(resource, key)
        patch = MergePatch({"spec": {"replicas": replicas}})
        response = await self._client.raw(
            "PATCH",
            resource.path(full.namespace, full.name, "scale"),
            query=self._client._write_query(options),
            body=patch.encode(self._client.scheme),
            headers={"content-type": patch.content_type},
            timeout=options.get("timeout", _WRITE_TIMEOUT),
        )
        return _read_scale(response.body)

    def __repr__(self) -> str:
        return f"SubresourceClient({self.name!r})"


@dataclass(frozen=True, slots=True)
class Scale:
    """What the scale subresource says: wanted and present replicas, and the selector of their pods."""

    replicas: int
    status_replicas: int
    selector: str
    resource_version: str


def _read_scale(body: bytes) -> Scale:
    document = msgspec.json.decode(body)
    status = document.get("status") or {}
    return Scale(
        replicas=int((document.get("spec") or {}).get("replicas") or 0),
        status_replicas=int(status.get("replicas") or 0),
        selector=str(status.get("selector") or ""),
        resource_version=str((document.get("metadata") or {}).get("resourceVersion") or ""),
    )


@dataclass(frozen=True, slots=True, repr=False)
class ServiceAccountToken:
    """A token from the TokenRequest API and when it expires (RFC 3339)."""

    token: str
    expires: str

    def __repr__(self) -> str:
        return f"ServiceAccountToken(<redacted>, expires={self.expires})"


class PodClient:
    """Evictions and service account tokens."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def evict(self, key: Key, *, uid: str = "", **options: Unpack[DeleteOptions]) -> None:
        """Delete a pod as disruption budgets allow; raises TooManyRequests while one forbids it."""
        resource = await self._client.resource(_POD)
        full: ObjectKey = self._client.complete_key(resource, key)
        delete: dict[str, Any] = {}
        if uid:
            delete["preconditions"] = {"uid": uid}
        grace = options.get("grace_period_seconds")
        if grace is not None:
            delete["gracePeriodSeconds"] = grace
        if options.get("dry_run"):
            delete["dryRun"] = ["All"]
        document = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": full.name, "namespace": full.namespace},
            "deleteOptions": delete,
        }
        write: WriteOptions = {"timeout": options.get("timeout", _WRITE_TIMEOUT)}
        if options.get("dry_run"):
            write["dry_run"] = True
        await SubresourceClient(self._client, "eviction").create(_POD, full, document, **write)

    async def service_account_token(
        self, key: Key, *, audiences: Sequence[str] = (), expiration_seconds: int = 3600
    ) -> ServiceAccountToken:
        """Ask for a short-lived token of a service account (TokenRequest API)."""
        spec: dict[str, Any] = {"expirationSeconds": expiration_seconds}
        if audiences:
            spec["audiences"] = list(audiences)
        document = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await SubresourceClient(self._client, "token").create(_SERVICE_ACCOUNT, key, document)
        status = answer.get("status") or {}
        return ServiceAccountToken(str(status.get("token", "")), str(status.get("expirationTimestamp", "")))
