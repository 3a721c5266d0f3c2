"""Predicates: which events are worth a reconcile. They run before the handler and see metadata only.

Mirrors controller-runtime's ``predicate`` package. A predicate is asked by the kind of event; all predicates of a watch
must agree. Combine them with ``and_``, ``or_`` and ``not_``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pyoperator.controller._arguments import checked_function, checked_predicate, checked_predicates

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyoperator.cache import CacheEvent
    from pyoperator.controller._events import Event, GenericEvent
    from pyoperator.objects import Metadata

__all__ = [
    "AnnotationChanged",
    "GenerationChanged",
    "LabelChanged",
    "LabelSelectorMatches",
    "Predicate",
    "Predicates",
    "ResourceVersionChanged",
    "and_",
    "not_",
    "or_",
]


class Predicate(Protocol):
    """Tell for each sort of event whether to go on with it. Must be quick and must not block."""

    def create(self, event: CacheEvent) -> bool: ...

    def update(self, event: CacheEvent) -> bool: ...

    def delete(self, event: CacheEvent) -> bool: ...

    def generic(self, event: GenericEvent) -> bool: ...


class Predicates:
    """Build a predicate from functions; an event without a function passes."""

    def __init__(
        self,
        *,
        create: Callable[[CacheEvent], bool] | None = None,
        update: Callable[[CacheEvent], bool] | None = None,
        delete: Callable[[CacheEvent], bool] | None = None,
        generic: Callable[[GenericEvent], bool] | None = None,
    ) -> None:
        for name, function in (("create", create), ("update", update), ("delete", delete), ("generic", generic)):
            if function is not None:
                checked_function(f"Predicates' {name}", function, 1, "event")
        self._create = create
        self._update = update
        self._delete = delete
        self._generic = generic

    def create(self, event: CacheEvent) -> bool:
        return self._create is None or self._create(event)

    def update(self, event: CacheEvent) -> bool:
        return self._update is None or self._update(event)

    def delete(self, event: CacheEvent) -> bool:
        return self._delete is None or self._delete(event)

    def generic(self, event: GenericEvent) -> bool:
        return self._generic is None or self._generic(event)

    def __repr__(self) -> str:
        given = [name for name in ("create", "update", "delete", "generic") if getattr(self, f"_{name}") is not None]
        return f"Predicates({', '.join(given)})"


class _UpdatePredicate:
    """Pass all but updates; those only if :meth:`changed` says so (never without both states)."""

    def create(self, event: CacheEvent) -> bool:
        return True

    def update(self, event: CacheEvent) -> bool:
        return event.old is not None and event.new is not None and self.changed(event.old.metadata, event.new.metadata)

    def delete(self, event: CacheEvent) -> bool:
        return True

    def generic(self, event: GenericEvent) -> bool:
        return True

    def changed(self, old: Metadata, new: Metadata) -> bool:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ResourceVersionChanged(_UpdatePredicate):
    """Drop updates that change nothing: resyncs."""

    def changed(self, old: Metadata, new: Metadata) -> bool:
        return old.resource_version != new.resource_version


class GenerationChanged(_UpdatePredicate):
    """Drop updates that leave the spec alone: writes of status, labels and annotations.

    For kinds whose server counts generations: custom resources with the status subresource, and most workloads.
    Marking an object for deletion counts; adding or removing a finalizer does not.
    """

    def changed(self, old: Metadata, new: Metadata) -> bool:
        return old.generation != new.generation


class AnnotationChanged(_UpdatePredicate):
    """Drop updates that leave the annotations alone; usually as ``or_(GenerationChanged(), AnnotationChanged())``."""

    def changed(self, old: Metadata, new: Metadata) -> bool:
        return old.annotations != new.annotations


class LabelChanged(_UpdatePredicate):
    """Drop updates that leave the labels alone."""

    def changed(self, old: Metadata, new: Metadata) -> bool:
        return old.labels != new.labels


class LabelSelectorMatches:
    """Pass objects whose labels match a selector such as ``"app=db,tier!=test"``; an update is judged by its new state.

    A generic event without an object does not match. Raises pyoperator.cache.SelectorError for a bad selector.
    """

    def __init__(self, selector: str) -> None:
        from pyoperator.cache import LabelSelector

        if not isinstance(selector, str):
            raise TypeError(f"LabelSelectorMatches({selector!r}): give a string, as in 'app=db,tier!=test'")
        self._selector = LabelSelector.parse(selector)

    def _matches(self, event: Event) -> bool:
        entry = event.new if event.new is not None else event.old
        return entry is not None and self._selector.matches(entry.metadata.labels)

    def create(self, event: CacheEvent) -> bool:
        return self._matches(event)

    def update(self, event: CacheEvent) -> bool:
        return self._matches(event)

    def delete(self, event: CacheEvent) -> bool:
        return self._matches(event)

    def generic(self, event: GenericEvent) -> bool:
        return self._matches(event)

    def __repr__(self) -> str:
        return f"LabelSelectorMatches({str(self._selector)!r})"


def and_(*predicates: Predicate) -> Predicate:
    """Pass what all pass; everything if none is given."""
    checked_predicates(predicates)
    return Predicates(
        create=lambda event: all(predicate.create(event) for predicate in predicates),
        update=lambda event: all(predicate.update(event) for predicate in predicates),
        delete=lambda event: all(predicate.delete(event) for predicate in predicates),
        generic=lambda event: all(predicate.generic(event) for predicate in predicates),
    )


def or_(*predicates: Predicate) -> Predicate:
    """Pass what any passes; nothing if none is given."""
    checked_predicates(predicates)
    return Predicates(
        create=lambda event: any(predicate.create(event) for predicate in predicates),
        update=lambda event: any(predicate.update(event) for predicate in predicates),
        delete=lambda event: any(predicate.delete(event) for predicate in predicates),
        generic=lambda event: any(predicate.generic(event) for predicate in predicates),
    )


def not_(predicate: Predicate) -> Predicate:
    """Pass what ``predicate`` drops."""
    checked_predicate(predicate)
    return Predicates(
        create=lambda event: not predicate.create(event),
        update=lambda event: not predicate.update(event),
        delete=lambda event: not predicate.delete(event),
        generic=lambda event: not predicate.generic(event),
    )
