"""How the objects of one kind are cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pyoperator.cache._field_selector import FieldSelector
from pyoperator.cache._selectors import LabelSelector
from pyoperator.cache._zstd import implementation

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
    raises fails that object only. ``compression="zstd"`` holds the objects compressed, with a dictionary trained from
    the first 200 of them: a tenth of the memory for some microseconds at each arrival and each read; it needs Python
    3.14 or the extra ``compression``. Durations in seconds: ``resync_period`` (+-10 %; 0 = never) replays every object
    to the handlers as a safety net; ``idle_timeout`` must exceed the server's bookmark period of about a minute. ``watch_list`` asks for the first state
    as the beginning of the watch, which spares the server the memory of a list (client-go's WatchListClient); False:
    in pages of ``page_size``, which costs this process a third less CPU.
    Raises SelectorError for a bad selector, ValueError for bad numbers, ImportError for missing compression.
    """

    namespaces: tuple[str, ...] = ()
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False
    strip_managed_fields: bool = True
    transform: Callable[[bytes], bytes] | None = None
    compression: Literal["zstd"] | None = None
    resync_period: float = 36_000.0
    idle_timeout: float = 90.0
    page_size: int = 500
    watch_list: bool = True

    def __post_init__(self) -> None:
        LabelSelector.parse(self.label_selector)
        FieldSelector.parse(self.field_selector)
        if self.compression not in (None, "zstd"):
            raise ValueError(f"compression is {self.compression!r}: give 'zstd' or None")
        if self.compression is not None and implementation() is None:
            raise ImportError(
                "compression='zstd' needs Python 3.14 or the package zstandard: pip install zstandard "
                "(the extra compression of pyoperator-runtime has it)"
            )
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
