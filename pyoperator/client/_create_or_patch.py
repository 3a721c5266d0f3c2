"""Bring an object to a wanted state with the least write: nothing, a create, or the difference."""

from __future__ import annotations

import enum
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from pyoperator.client._errors import NotFound
from pyoperator.client._patches import MergePatch, merge_patch_between

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from pyoperator.client._options import WriteOptions
    from pyoperator.client._writer import Writer
    from pyoperator.objects import Metadata

T = TypeVar("T")


class OperationResult(enum.Enum):
    """What create_or_update or create_or_patch did."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


async def create_or_update(
    client: Writer, obj: T, mutate: Callable[[T], None], **options: Unpack[WriteOptions]
) -> tuple[T, OperationResult]:
    """See Client.create_or_update."""
    found = await _mutate_existing(client, obj, mutate, **options)
    if found is None:
        return await _create(client, obj, mutate, **options), OperationResult.CREATED
    existing, before, after = found
    if merge_patch_between(before, after) is None:
        return existing, OperationResult.UNCHANGED
    return await client.update(existing, **options), OperationResult.UPDATED


async def create_or_patch(
    client: Writer, obj: T, mutate: Callable[[T], None], **options: Unpack[WriteOptions]
) -> tuple[T, OperationResult]:
    """See Client.create_or_patch."""
    found = await _mutate_existing(client, obj, mutate, **options)
    if found is None:
        return await _create(client, obj, mutate, **options), OperationResult.CREATED
    existing, before, after = found
    difference = merge_patch_between(before, after)
    if difference is None:
        return existing, OperationResult.UNCHANGED
    _, _, metadata = await client._take_apart(existing)
    read = before.get("metadata", {})
    patch = MergePatch(difference).with_optimistic_lock(read.get("resourceVersion", ""), read.get("uid", ""))
    patched = await client.patch(existing, metadata.key, patch, **options)
    # A list that mutate builds anew lacks the server's defaults: sent at every turn, and no change to the server.
    _, _, stored = await client._take_apart(patched)
    unchanged = stored.resource_version == metadata.resource_version and not options.get("dry_run")
    return patched, OperationResult.UNCHANGED if unchanged else OperationResult.UPDATED


async def patch_from(
    client: Writer,
    original: T,
    modified: T,
    *,
    subresource: str = "",
    optimistic_lock: bool = True,
    precondition: str = "",
    **options: Unpack[WriteOptions],
) -> T:
    """See Client.patch_from; ``precondition`` is a resourceVersion other than the original's."""
    before, after = _document(client, original), _document(client, modified)
    if subresource == "status":
        # The server takes nothing but status there: a difference elsewhere would be sent for nothing.
        before, after = ({"status": document.get("status")} for document in (before, after))
    for document in (before, after):
        _drop_what_only_the_server_sets(document)
    difference = merge_patch_between(before, after)
    if difference is None:
        return modified
    return await _send(client, original, difference, subresource, optimistic_lock, precondition, options)


async def _send(
    client: Writer,
    original: T,
    difference: dict[str, Any],
    subresource: str,
    optimistic_lock: bool,
    precondition: str,
    options: WriteOptions,
) -> T:
    _, _, metadata = await client._take_apart(original)
    patch = MergePatch(difference)
    if optimistic_lock or precondition:
        patch = patch.with_optimistic_lock(precondition or metadata.resource_version, metadata.uid)
    return await client.patch(original, metadata.key, patch, subresource=subresource, **options)


async def patch_status(
    client: Writer,
    obj: T,
    mutate: Callable[[T], None],
    *,
    optimistic_lock: bool = True,
    **options: Unpack[WriteOptions],
) -> T:
    """See Client.patch_status."""
    codec = client.scheme.codec_for(obj)
    encoded = codec.encode(obj)
    changed = codec.decode(encoded)  # the caller's object, perhaps a shared one, stays as it was read
    _call(mutate, changed)
    before: dict[str, Any] = msgspec.json.decode(encoded)
    after = _document(client, changed)
    reported, report = ({"status": document.pop("status", None)} for document in (before, after))
    if merge_patch_between(before, after) is not None:
        raise ValueError(
            "mutate changed more than the status: the status subresource takes nothing else; use patch_from"
        )
    difference = merge_patch_between(reported, report)
    if difference is None:
        return changed
    return await _send(client, obj, difference, "status", optimistic_lock, "", options)


async def _mutate_existing(
    client: Writer, obj: T, mutate: Callable[[T], None], **options: Unpack[WriteOptions]
) -> tuple[T, dict[str, Any], dict[str, Any]] | None:
    """Return the object of ``obj``'s key after ``mutate``, and its JSON before and after; None if there is none."""
    resource, _, wanted = await client._take_apart(obj)
    key = client.complete_key(resource, wanted.key)
    kind: Any = resource.gvk if isinstance(obj, dict) else type(obj)
    try:
        if "timeout" in options:
            existing: T = await client.get(kind, key, timeout=options["timeout"])
        else:
            existing = await client.get(kind, key)
    except NotFound:
        return None
    # Both sides pass through the same encoder: what it leaves out or spells differently is no difference.
    before = _document(client, existing)
    _, _, identity = await client._take_apart(existing)
    _call(mutate, existing)
    _check_identity(identity, (await client._take_apart(existing))[2])
    return existing, before, _document(client, existing)


async def _create(client: Writer, obj: T, mutate: Callable[[T], None], **options: Unpack[WriteOptions]) -> T:
    _, _, identity = await client._take_apart(obj)
    _call(mutate, obj)
    _check_identity(identity, (await client._take_apart(obj))[2])
    return await client.create(obj, **options)


def _call(mutate: Callable[[T], object], obj: T) -> None:
    returned = mutate(obj)
    if iscoroutine(returned):
        returned.close()
        raise TypeError(
            "mutate is an async function, and has changed nothing: it is called between a read and a write that belong "
            "together; await what it needs before, and let it be a plain function"
        )


def _check_identity(before: Metadata, after: Metadata) -> None:
    if before.key != after.key:
        raise ValueError(f"mutate changed the object's key from {before.key} to {after.key}: it must not")


def _document(client: Writer, obj: Any) -> dict[str, Any]:
    encoded = client.scheme.codec_for(obj).encode(obj)
    return cast("dict[str, Any]", msgspec.json.decode(encoded))


def _drop_what_only_the_server_sets(document: dict[str, Any]) -> None:
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        for name in ("resourceVersion", "uid", "generation", "creationTimestamp", "managedFields", "selfLink"):
            metadata.pop(name, None)
