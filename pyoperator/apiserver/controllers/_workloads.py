"""What the workload controllers share: pods from templates, selectors, readiness, hashes, conditions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver.controllers._object import Object, copied
from pyoperator.objects import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyoperator.apiserver.controllers._client import ControllerClient
    from pyoperator.clock import Randomness

# No vowels and nothing that looks like another character: generated names spell no words.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """How long simulated things take, in seconds, and how many nodes there are."""

    nodes: int = 3
    schedule: float = 0.01
    start: float = 0.03
    ready: float = 0.03
    stop: float = 0.03
    finish: float = 0.05
    bind: float = 0.01
    expand: float = 0.03


def owner_reference(owner: Mapping[str, Any]) -> Object:
    """Return the reference that makes ``owner`` the controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_from_template(
    owner: Mapping[str, Any], template: Mapping[str, Any], name: str, labels: Mapping[str, str]
) -> Object:
    """Return a pod of ``owner``, named, with the template's metadata and ``labels`` added."""
    made = copied(dict(template))
    metadata = made.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": owner["metadata"]["namespace"],
            "labels": {**(metadata.get("labels") or {}), **labels},
            **({"annotations": metadata["annotations"]} if metadata.get("annotations") else {}),
            **({"finalizers": metadata["finalizers"]} if metadata.get("finalizers") else {}),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": made.get("spec") or {},
    }


def template_hash(template: Any) -> str:
    """Return a short name for a pod template: equal templates, equal names."""
    digest = hashlib.sha256(msgspec.json.encode(template, order="deterministic")).digest()
    number = int.from_bytes(digest[:8])
    letters = []
    for _ in range(10):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def random_suffix(random: Randomness, length: int = 5) -> str:
    """Return the random end of a generated name."""
    return "".join(random.choice(_ALPHABET) for _ in range(length))


def condition_of(obj: Mapping[str, Any], type_: str) -> Object | None:
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == type_:
            found: Object = condition
            return found
    return None


def is_ready(pod: Mapping[str, Any]) -> bool:
    ready = condition_of(pod, "Ready")
    return ready is not None and ready.get("status") == "True"


def is_terminating(obj: Mapping[str, Any]) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def is_finished(pod: Mapping[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def seconds_until_available(pod: Mapping[str, Any], min_ready: int, now: float) -> float | None:
    """Return 0 for an available pod, the seconds that its readiness must still last, None for one not ready."""
    ready = condition_of(pod, "Ready")
    if ready is None or ready.get("status") != "True" or is_terminating(pod):
        return None
    if not min_ready:
        return 0.0
    return max(parse_time(ready["lastTransitionTime"]) + min_ready - now, 0.0)


def set_conditions(status: Object, wanted: Iterable[Object], now: float) -> None:
    """Put conditions into a status; the transition time moves only when the value does."""
    current = {condition["type"]: condition for condition in status.get("conditions") or ()}
    for condition in wanted:
        old = current.get(condition["type"])
        moved = old is None or old.get("status") != condition["status"]
        time = format_time(now) if old is None or moved else old.get("lastTransitionTime", format_time(now))
        current[condition["type"]] = {**condition, "lastTransitionTime": time}
    status["conditions"] = list(current.values())


def write_status(client: ControllerClient, obj: Object, status: Object) -> bool:
    """Write a status if it differs from what ``obj`` has; return whether it did."""
    if (obj.get("status") or {}) == status:
        return False
    client.update_status({**obj, "status": status})
    return True


def share(value: Any, total: int, *, up: bool) -> int:
    """Resolve a number or a percentage of ``total``, rounded up or down."""
    if isinstance(value, str) and value.endswith("%"):
        percent = int(value[:-1]) * total
        return -(-percent // 100) if up else percent // 100
    return int(value)
