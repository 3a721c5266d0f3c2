"""How the objects of one kind are cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pyoperator.cache._selectors import LabelSelector

if TYPE_CHECKING:
    from collections.abc import Callable

ALL_NAMESPACES: Final = ("",)
"""For ``CacheOptions.namespaces``: every namespace, even where the cache has default namespaces."""


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """What to keep of a kind (``cache.ByObject`` in controller-runtime).

    ``namespaces``: one list+watch each (empty: the cache's default). ``label_selector`` and ``field_selector`` are
    evaluated by the server: what they exclude costs nothing here. ``metadata_only`` keeps name, labels, owners and
    annotations without spec, status or data. ``strip_managed_fields`` drops ``metadata.managedFields``, often a third
    of an object. ``transform`` maps an object's JSON bytes to those to keep (to drop large fields); a transform that
    raises fails that object only. Durations in seconds: ``resync_period`` (+-10 %; 0 = never) replays every object to
    the handlers as a safety net; ``idle_timeout`` must exceed the server's bookmark period of about a minute.
    Raises SelectorError for a bad label selector, ValueError for bad numbers.
    """

    namespaces: tuple[str, ...] = ()
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False
    strip_managed_fields: bool = True
    transform: Callable[[bytes], bytes] | None = None
    resync_period: float = 36_000.0
    idle_timeout: float = 90.0
    page_size: int = 500

    def __post_init__(self) -> None:
        LabelSelector.parse(self.label_selector)
        if self.idle_timeout <= 0:
            raise ValueError(
                f"idle_timeout is {self.idle_timeout} s: give a positive number, above the bookmark period of 60 s"
            )
        if self.resync_period < 0:
            raise ValueError(f"resync_period is {self.resync_period} s: give 0 (never) or a positive number")
        if self.page_size < 0:
            raise ValueError(f"page_size is {self.page_size}: give 0 (no paging) or a positive number")
        if "" in self.namespaces and len(self.namespaces) > 1:
            raise ValueError(f"namespaces {self.namespaces} holds both all ('') and some: give ALL_NAMESPACES or names")
        if len(set(self.namespaces)) != len(self.namespaces):
            raise ValueError(f"namespaces {self.namespaces} names one twice: each would be watched twice")
