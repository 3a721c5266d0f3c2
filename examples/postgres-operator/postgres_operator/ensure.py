"""Write a child only when it differs from what is wanted, and never what is not ours."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from postgres_operator import names
from pyoperator.client import Conflict, NotFound
from pyoperator.objects import (
    AlreadyOwnedError,
    Quantity,
    Unstructured,
    controller_of,
    is_owned_by,
    metadata_of,
    set_controller_reference,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postgres_operator.api import Postgres
    from pyoperator.client import Client

Outcome = Literal["created", "updated", "unchanged", "terminating"]

# What the server adds to a Service's spec by itself and must find again in an update.
_ALLOCATED = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort")
_AMOUNTS = frozenset({"cpu", "memory", "storage", "ephemeral-storage"})
# Maps that are ours as a whole: a key that somebody added to a selector would select nothing.
_WHOLE = frozenset({"selector", "matchLabels", "data"})


class NameTakenError(Exception):
    """An object of a child's name exists and belongs to somebody else."""


class OwnerGoneError(Exception):
    """The Postgres that the cache shows has been deleted meanwhile; what is made for it would be garbage."""


class LiveOwner:
    """The Postgres of one reconcile as the cache shows it, and, before a child is created or adopted, as it is."""

    def __init__(self, cached: Postgres, reader: Client) -> None:
        self.cached = cached
        self.reader = reader
        self._confirmed = False

    async def confirm(self) -> None:
        """Ask the server, once, whether the owner is still there; raises OwnerGoneError.

        A replica whose watch had died when it became the leader sees an owner that its predecessor has cleaned up. The
        garbage collector would delete each child as soon as it is made or adopted (a retained Secret!), and each
        deletion would bring the next creation.
        """
        if self._confirmed:
            return
        try:
            live = await self.reader.get(type(self.cached), self.cached.key)
        except NotFound:
            live = None
        if live is None or live.metadata.uid != self.cached.metadata.uid or live.metadata.deletion_timestamp:
            raise OwnerGoneError(f"Postgres {self.cached.metadata.name} is not what the cache shows any more")
        self._confirmed = True


@dataclass(frozen=True, slots=True)
class Ensured:
    """A child as it is now, and what it took."""

    live: Unstructured
    outcome: Outcome


async def ensure(client: Client, owner: LiveOwner, desired: Unstructured, *, fixed: Sequence[str] = ()) -> Ensured:
    """Bring one child to what is wanted.

    The client reads from the cache, and asks the server about a child that the cache does not know (somebody may have
    taken away the label that the cache selects by). If the child has changed since the cache heard of it, what the
    server has now decides, once; to wait for the cache would leave a child that changes all the time as it is. ``fixed``
    names fields of ``spec`` that can't be changed after creation and are taken over as they are. Raises NameTakenError,
    OwnerGoneError, Conflict.
    """
    set_controller_reference(owner.cached, desired)
    intent = intent_checksum(desired, fixed)
    desired.metadata.setdefault("annotations", {})[names.INTENT_ANNOTATION] = intent
    try:
        return await _bring(client, client, owner, desired, intent, fixed)
    except Conflict:
        return await _bring(client, owner.reader, owner, desired, intent, fixed)


async def _bring(
    client: Client, reader: Client, owner: LiveOwner, desired: Unstructured, intent: str, fixed: Sequence[str]
) -> Ensured:
    try:
        live = await reader.get(desired.gvk, desired.key)
    except NotFound:
        await owner.confirm()
        return Ensured(await client.create(desired), "created")
    if live.metadata.get("deletionTimestamp"):
        return Ensured(live, "terminating")
    check_ownership(owner.cached, live)
    wanted = _wanted(live, desired, intent, fixed)
    if wanted == live:
        return Ensured(live, "unchanged")
    if wanted.metadata.get("ownerReferences") != live.metadata.get("ownerReferences"):
        await owner.confirm()
    return Ensured(await client.update(wanted), "updated")


def check_ownership(owner: Postgres, live: Unstructured) -> None:
    """Raise NameTakenError if the object is neither the owner's nor left over from one of the same name."""
    if is_owned_by(live, owner):
        return
    current = controller_of(live)
    labels = metadata_of(live).labels
    left_over = labels.get(names.RETAINED_LABEL) == "true" and labels.get(names.CLUSTER_LABEL) == owner.metadata.name
    if current is not None or not left_over:
        raise NameTakenError(
            f"{live.gvk.kind} {live.name} exists and is not ours: rename or delete it, or give the Postgres another name"
        )


def _wanted(live: Unstructured, desired: Unstructured, intent: str, fixed: Sequence[str]) -> Unstructured:
    same_intent = (live.metadata.get("annotations") or {}).get(names.INTENT_ANNOTATION) == intent
    # Whatever differs is put in place of what is there; nothing of ``live`` is changed itself.
    wanted = Unstructured({**live, "metadata": dict(live.metadata)})
    for section, value in desired.items():
        if section in {"apiVersion", "kind", "metadata"}:
            continue
        current = wanted.get(section)
        if same_intent or not isinstance(value, dict) or not isinstance(current, dict):
            wanted[section] = overlay(current, value, section)
        else:
            # The intent has changed: fields that it no longer names must go, so the section is replaced.
            kept = {key: current[key] for key in (*_ALLOCATED, *fixed) if key in current}
            wanted[section] = {**value, **kept} if section == "spec" else value
    kept = {field: live["spec"][field] for field in fixed if field in live.get("spec", {})}
    if kept:
        wanted["spec"] = {**wanted["spec"], **kept}
    for field in ("labels", "annotations"):
        merged = {**(live.metadata.get(field) or {}), **(desired.metadata.get(field) or {})}
        if merged != (live.metadata.get(field) or {}):
            wanted.metadata[field] = merged
    labels = wanted.metadata.get("labels") or {}
    if names.RETAINED_LABEL in labels:
        wanted.metadata["labels"] = {name: value for name, value in labels.items() if name != names.RETAINED_LABEL}
    ours = desired.metadata["ownerReferences"][0]
    if ours not in (live.metadata.get("ownerReferences") or []):
        others = [entry for entry in live.metadata.get("ownerReferences") or [] if entry.get("uid") != ours["uid"]]
        if any(entry.get("controller") for entry in others):
            raise AlreadyOwnedError(live.key, metadata_of(live).owner_references[0])
        wanted.metadata["ownerReferences"] = [*others, ours]
    return wanted


def overlay(live: Any, desired: Any, key: str = "") -> Any:
    """Lay ``desired`` over ``live``: fields that only the server filled in stay, lists have exactly the desired items.

    Returns ``live`` itself where it already has everything that is desired, and changes nothing of it.
    """
    if desired == live:
        return live
    if isinstance(desired, dict) and isinstance(live, dict) and not (key in _WHOLE and _is_flat(desired)):
        laid = {name: overlay(live.get(name), value, name) for name, value in desired.items()}
        return {**live, **laid} if any(value is not live.get(name) for name, value in laid.items()) else live
    if isinstance(desired, list) and isinstance(live, list) and len(desired) == len(live):
        items = [overlay(current, value, key) for current, value in zip(live, desired, strict=True)]
        return items if any(new is not old for new, old in zip(items, live, strict=True)) else live
    if key in _AMOUNTS and isinstance(live, str | int) and Quantity(live) == Quantity(desired):
        return live  # the server writes amounts in its own form: 1000m comes back as 1
    return desired


def _is_flat(mapping: dict[str, Any]) -> bool:
    return not any(isinstance(value, dict | list) for value in mapping.values())


def intent_checksum(desired: Unstructured, fixed: Sequence[str]) -> str:
    content = {key: value for key, value in desired.items() if key != "metadata"}
    if fixed and "spec" in content:
        content["spec"] = {key: value for key, value in content["spec"].items() if key not in fixed}
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:16]
