"""The volumes' claims: grown through the claims, since a StatefulSet's templates can't be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgres_operator import names
from pyoperator.client import Forbidden, Invalid, MergePatch
from pyoperator.objects import Quantity, Unstructured, metadata_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postgres_operator.api import Postgres
    from postgres_operator.conditions import Observation
    from pyoperator.client import Client


async def claims_of(client: Client, postgres: Postgres) -> list[Unstructured]:
    """Return the claims of a cluster's volumes, in order of their names (and so of their ordinals)."""
    found = await client.list(
        names.CLAIM,
        namespace=postgres.metadata.namespace,
        label_selector=f"{names.CLUSTER_LABEL}={postgres.metadata.name},{names.MANAGED_SELECTOR}",
    )
    return sorted(found.items, key=lambda claim: claim.name)


def running_version(claims: Sequence[Unstructured], stateful_set: Unstructured | None) -> str | None:
    """Return the major version that wrote the volumes, else that of the StatefulSet; None if nothing exists yet."""
    for source in (*claims, *([stateful_set] if stateful_set else [])):
        version = metadata_of(source).labels.get(names.VERSION_LABEL)
        if version:
            return version
    return None


async def grow(client: Client, postgres: Postgres, claims: Sequence[Unstructured], seen: Observation) -> list[str]:
    """Raise the request of each claim that is smaller than wanted; return the names of those that were changed.

    A smaller wanted size, or another class, is refused with a fault and changes nothing.
    """
    wanted, storage_class = postgres.spec.storage.size, postgres.spec.storage.storage_class_name
    live = [claim for claim in claims if not metadata_of(claim).deletion_timestamp]
    requests = {claim.name: Quantity(claim["spec"]["resources"]["requests"]["storage"]) for claim in live}
    too_big = [name for name, size in requests.items() if size > wanted]
    if too_big:
        seen.refuse(
            "StorageAccepted",
            "ShrinkRefused",
            f"spec.storage.size {wanted} is less than the {requests[too_big[0]]} of {too_big[0]}: volumes can't shrink; "
            f"set it back to at least {max(requests.values())}",
        )
        return []
    other = [claim for claim in live if storage_class and claim["spec"].get("storageClassName") != storage_class]
    if other:
        seen.refuse(
            "StorageAccepted",
            "ClassChangeRefused",
            f"volume {other[0].name} is of class {other[0]['spec'].get('storageClassName')!r}: the class of a volume is "
            "fixed; set spec.storage.storageClassName back",
        )
    grown = []
    for claim in live:
        if requests[claim.name] == wanted:
            continue
        patch = MergePatch({"spec": {"resources": {"requests": {"storage": str(wanted)}}}})
        meta = metadata_of(claim)
        try:
            await client.patch(names.CLAIM, claim.key, patch.with_optimistic_lock(meta.resource_version, meta.uid))
        except (Forbidden, Invalid) as error:
            # Forbidden: the claim's class does not allow expansion, or the claim is not bound yet.
            if (claim.get("status") or {}).get("phase") == "Bound":
                seen.refuse(
                    "StorageAccepted", "ExpansionFailed", f"volume {claim.name} can't grow: {error.status.message}"
                )
            continue
        grown.append(claim.name)
    return grown
