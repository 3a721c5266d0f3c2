"""What happens when a Postgres is deleted: volumes and credentials go with it, or are kept for a successor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgres_operator import names
from postgres_operator.volumes import claims_of
from pyoperator.client import MergePatch, NotFound, ignore_not_found
from pyoperator.objects import is_owned_by, metadata_of

if TYPE_CHECKING:
    from postgres_operator.api import Postgres
    from pyoperator.client import Client
    from pyoperator.objects import Unstructured


async def clean_up(client: Client, reader: Client, postgres: Postgres) -> None:
    """Honour the deletion policy; everything else is left to the garbage collector. Safe to repeat.

    ``reader`` asks the server rather than the cache: with the finalizer goes the last chance to find a volume.
    """
    if postgres.spec.deletion_policy == "Retain":
        await _retain(client, reader, postgres)
    else:
        await _delete_volumes(client, reader, postgres)


async def _delete_volumes(client: Client, reader: Client, postgres: Postgres) -> None:
    # The StatefulSet first: it would make the claims anew.
    with ignore_not_found():
        stateful_set = await client.get(names.STATEFUL_SET, postgres.key)
        if is_owned_by(stateful_set, postgres) and not metadata_of(stateful_set).deletion_timestamp:
            meta = metadata_of(stateful_set)
            await client.delete(names.STATEFUL_SET, meta.key, uid=meta.uid, propagation_policy="Background")
    for claim in await claims_of(reader, postgres):
        meta = metadata_of(claim)
        if not meta.deletion_timestamp:
            with ignore_not_found():
                await client.delete(names.CLAIM, meta.key, uid=meta.uid)


async def _retain(client: Client, reader: Client, postgres: Postgres) -> None:
    for claim in await claims_of(reader, postgres):
        await _mark(client, postgres, claim)
    try:
        secret = await client.get(names.SECRET, postgres.key._replace(name=names.credentials(postgres.metadata.name)))
    except NotFound:
        return
    await _mark(client, postgres, secret)


async def _mark(client: Client, postgres: Postgres, child: Unstructured) -> None:
    """Label a child as retained and take away our owner reference, so that the garbage collector leaves it alone."""
    meta = metadata_of(child)
    if meta.labels.get(names.RETAINED_LABEL) == "true" and not is_owned_by(child, postgres):
        return
    change: dict[str, object] = {"labels": {names.RETAINED_LABEL: "true"}}
    if is_owned_by(child, postgres):
        others = [entry for entry in child.metadata["ownerReferences"] if entry.get("uid") != postgres.metadata.uid]
        change["ownerReferences"] = others or None
    patch = MergePatch({"metadata": change}).with_optimistic_lock(meta.resource_version, meta.uid)
    await client.patch(child.gvk, meta.key, patch)
