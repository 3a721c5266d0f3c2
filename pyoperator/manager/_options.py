"""What can be set on a manager, checked before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from pyoperator.cache import CachedClient
from pyoperator.clock import Randomness
from pyoperator.leaderelection import ElectionConfig, default_identity, default_namespace, stall_limit_of
from pyoperator.manager._errors import ManagerError
from pyoperator.objects import Scheme
from pyoperator.serving import BindAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.cache import Cache, CacheOptions
    from pyoperator.client import Client


@dataclass(frozen=True, slots=True)
class CacheConfiguration:
    """What the manager's cache keeps: options by kind, defaults for all others, namespaces (empty: all).

    ``implicit_informers``: reads through the manager's client of a kind that nobody watches begin to cache it, and wait
    for its first sync; off, they ask the server each time. ``read_your_own_writes``: such reads wait until the cache has
    seen what this process wrote before, at most ``own_write_timeout`` seconds, and then ask the server.
    """

    default_namespaces: tuple[str, ...] = ()
    by_kind: Mapping[Any, CacheOptions] = field(default_factory=dict)
    default_options: CacheOptions | None = None
    implicit_informers: bool = False
    read_your_own_writes: bool = True
    own_write_timeout: float = 5.0

    def client(self, inner: Client, cache: Cache) -> CachedClient:
        """Return a client that reads from the manager's cache as configured; raises ValueError for a bad timeout."""
        return CachedClient(
            inner,
            cache,
            read_your_own_writes=self.read_your_own_writes,
            own_write_timeout=self.own_write_timeout,
        )


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """The settings of a manager as given, validated; durations in seconds."""

    metrics: BindAddress
    health_probe: BindAddress
    election: ElectionConfig | None
    graceful_shutdown_timeout: float | None
    drain_delay: float
    on_lost: Literal["exit", "recampaign"]
    stall_limit: float
    dead_mans_switch: bool | None


def validated(
    *,
    metrics_bind_address: str,
    health_probe_bind_address: str,
    leader_election: bool,
    leader_election_id: str,
    leader_election_namespace: str,
    release_on_cancel: bool | None,
    leader_election_release_on_cancel: bool | None,
    lease_duration: float,
    renew_deadline: float,
    retry_period: float,
    identity: str,
    graceful_shutdown_timeout: float | None,
    drain_delay: float,
    on_lost: str,
    stall_limit: float | None,
    dead_mans_switch: bool | None,
    random: Randomness,
) -> ManagerOptions:
    """Check everything that can be checked without a server. Raises ManagerError and what the parts raise."""
    if on_lost not in {"exit", "recampaign"}:
        raise ManagerError(f"on_lost={on_lost!r} is unknown: use 'exit' (default) or 'recampaign'")
    if graceful_shutdown_timeout is not None:
        _duration("graceful_shutdown_timeout", graceful_shutdown_timeout, "30; 0 does not wait, None waits for ever")
    _duration("drain_delay", drain_delay, "0; some seconds if this process serves webhooks")
    limit = stall_limit_of(stall_limit, renew_deadline)
    if (
        None not in {release_on_cancel, leader_election_release_on_cancel}
        and release_on_cancel != leader_election_release_on_cancel
    ):
        raise ManagerError(
            "release_on_cancel and leader_election_release_on_cancel are two names of one option and contradict each "
            "other: give one"
        )
    given = leader_election_release_on_cancel if release_on_cancel is None else release_on_cancel
    election = None
    if leader_election:
        election = ElectionConfig(
            name=leader_election_id,
            namespace=default_namespace(leader_election_namespace),
            identity=identity or default_identity(randomness=random),
            lease_duration=lease_duration,
            renew_deadline=renew_deadline,
            retry_period=retry_period,
            release_on_cancel=True if given is None else given,
        )
    return ManagerOptions(
        metrics=BindAddress.parse(metrics_bind_address),
        health_probe=BindAddress.parse(health_probe_bind_address),
        election=election,
        graceful_shutdown_timeout=graceful_shutdown_timeout,
        drain_delay=drain_delay,
        on_lost="exit" if on_lost == "exit" else "recampaign",
        stall_limit=limit,
        dead_mans_switch=dead_mans_switch,
    )


def _duration(name: str, value: float, advice: str) -> None:
    if not isfinite(value) or value < 0:
        raise ManagerError(f"{name}={value!r} is no duration: give seconds from 0 up (default {advice})")


def check_parts(*, configuration: Any, scheme: Any, cache: Any, clock: Any, random: Any) -> None:
    """Refuse what stands for a part and is none, which otherwise shows at the first use. Raises ManagerError."""
    if configuration is not None and not hasattr(configuration, "server"):
        raise ManagerError(
            f"configuration={configuration!r}: give a Configuration, as Configuration.load(kubeconfig=...) finds it"
        )
    for name, part, kind in (
        ("scheme", scheme, Scheme),
        ("cache", cache, CacheConfiguration),
        ("random", random, Randomness),
    ):
        if part is not None and not isinstance(part, kind):
            raise ManagerError(f"{name}={part!r}: give {kind.__name__}(...)")
    if clock is not None and (isinstance(clock, type) or not hasattr(clock, "elapsed")):
        raise ManagerError(f"clock={clock!r}: give a clock such as SystemClock() or LoopClock(loop)")


def namespaces_of(namespaces: Any, cache: CacheConfiguration) -> tuple[str, ...]:
    """Return the namespaces to cache, from the two options that say them. Raises ManagerError."""
    if namespaces and cache.default_namespaces:
        raise ManagerError("namespaces and cache.default_namespaces say the same: give one of them")
    found = namespaces or cache.default_namespaces
    if isinstance(found, str):  # a text is a sequence too, of letters
        raise ManagerError(f"namespaces={found!r} is a text: give a tuple, namespaces=({found!r},)")
    return tuple(found)
