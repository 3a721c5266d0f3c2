"""Say what a controller is for, in the order in which one thinks of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pyoperator.controller._arguments import (
    checked_handler,
    checked_predicate,
    checked_predicates,
    reconciler_function,
)
from pyoperator.controller._controller import Controller, Watch
from pyoperator.controller._handlers import EnqueueForObject, EnqueueForOwner
from pyoperator.controller._options import ControllerOptions
from pyoperator.controller._records import ControllerKinds
from pyoperator.controller._sources import KindSource

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSet, Sequence

    from pyoperator.clock import Clock, Randomness
    from pyoperator.controller._handlers import Handler
    from pyoperator.controller._request import AnyReconciler
    from pyoperator.controller._sources import InformerCache, Source
    from pyoperator.controller.predicates import Predicate
    from pyoperator.metrics import Source as MetricsSource
    from pyoperator.objects import Scheme


_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # it becomes part of a health check's path


class ControllerManager(Protocol):
    """What the builder needs of a manager; ``pyoperator.manager.Manager`` has it."""

    @property
    def cache(self) -> InformerCache: ...

    @property
    def scheme(self) -> Scheme: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def random(self) -> Randomness: ...

    @property
    def logger(self) -> Any: ...

    @property
    def controller_names(self) -> MutableSet[str]: ...

    def add(self, runnable: Any, /) -> Any: ...

    def add_metrics_collector(self, source: MetricsSource, /) -> Any: ...

    def add_healthz_check(self, name: str, check: Callable[[], None], /) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Declared:
    """One watch as declared: resolved only in ``complete``, so that the order of the calls does not matter."""

    kind: Any
    handler: Handler | None
    predicates: tuple[Predicate, ...]
    metadata_only: bool = False
    match_every_owner: bool = False


class ControllerBuilder:
    """Collect what a controller watches, then ``complete`` it: it is added to the manager.

    Kinds are classes or GVKs that the manager's scheme knows. Every watch has its own predicates; those of
    ``with_event_filter`` come first for all of them, and all must agree. As in controller-runtime's ``builder``.
    """

    def __init__(self, manager: ControllerManager) -> None:
        self._manager = manager
        self._for: _Declared | None = None
        self._owns: list[_Declared] = []
        self._watches: list[_Declared] = []
        self._raw: list[Watch] = []
        self._filters: list[Predicate] = []
        self._name = ""
        self._options: ControllerOptions | None = None

    def for_(self, kind: Any, *, predicates: Sequence[Predicate] = ()) -> ControllerBuilder:
        """Set the kind to reconcile; once."""
        if self._for is not None:
            raise ValueError(
                f"for_({_named(kind)}): this controller is for {_named(self._for.kind)} already; use watches()"
            )
        self._for = _Declared(kind, EnqueueForObject(), checked_predicates(predicates))
        return self

    def owns(
        self, kind: Any, *, match_every_owner: bool = False, predicates: Sequence[Predicate] = ()
    ) -> ControllerBuilder:
        """Reconcile the owner, of the for-kind, when an object of ``kind`` that it controls changes.

        ``match_every_owner``: also owners that are not the controller of the object.
        """
        self._owns.append(_Declared(kind, None, checked_predicates(predicates), match_every_owner=match_every_owner))
        return self

    def watches(self, kind: Any, handler: Handler, *, predicates: Sequence[Predicate] = ()) -> ControllerBuilder:
        """Let ``handler`` say what to reconcile when an object of ``kind`` changes; for a function ``EnqueueMapped(it)``."""
        self._watches.append(_Declared(kind, checked_handler(handler), checked_predicates(predicates)))
        return self

    def watches_metadata(
        self, kind: Any, handler: Handler, *, predicates: Sequence[Predicate] = ()
    ) -> ControllerBuilder:
        """Watch like ``watches``, but keep no more than metadata in memory."""
        self._watches.append(
            _Declared(kind, checked_handler(handler), checked_predicates(predicates), metadata_only=True)
        )
        return self

    def watches_raw_source(
        self, source: Source, handler: Handler, *, predicates: Sequence[Predicate] = ()
    ) -> ControllerBuilder:
        """Take events from a source of your own, such as a ChannelSource."""
        self._raw.append(Watch(source, handler, checked_predicates(predicates)))
        return self

    def with_predicates(self, *predicates: Predicate) -> ControllerBuilder:
        """Add predicates for all watches: another name of ``with_event_filter``."""
        return self.with_event_filter(*predicates)

    def with_event_filter(self, *predicates: Predicate) -> ControllerBuilder:
        """Add predicates for all watches, asked before those of a watch."""
        self._filters.extend(checked_predicate(predicate) for predicate in predicates)
        return self

    def named(self, name: str) -> ControllerBuilder:
        """Name the controller in logs and metrics; by default the for-kind in lower case. Unique in its manager."""
        if not isinstance(name, str):
            raise TypeError(f"named({name!r}): give a string")
        if not _NAME.fullmatch(name):
            raise ValueError(f"named({name!r}): use letters, digits, '-', '_' and '.', as in 'postgres'")
        self._name = name
        return self

    def with_options(self, options: ControllerOptions) -> ControllerBuilder:
        """Set workers, timeouts, retries; see ControllerOptions."""
        if not isinstance(options, ControllerOptions):
            raise TypeError(f"with_options({options!r}): give ControllerOptions(...)")
        self._options = options
        return self

    def complete(self, reconciler: AnyReconciler) -> Controller:
        """Make the controller, add it to the manager, and return it.

        Raises TypeError for what is no reconciler; ValueError if it watches nothing, owns without a for-kind, has no name or one that is taken;
        UnknownKindError for kinds that the scheme does not know.
        """
        reconciler_function(reconciler)  # first: nothing is to be left half added
        manager, scheme = self._manager, self._manager.scheme
        if self._for is None and self._owns:
            raise ValueError(f"owns({_named(self._owns[0].kind)}): owners of which kind? call for_(Kind) as well")
        if self._for is None and not self._watches and not self._raw:
            raise ValueError(
                "the controller would watch nothing and never run: call for_(Kind), watches() or watches_raw_source()"
            )
        for_kind = scheme.resource(self._for.kind).gvk if self._for is not None else None
        owned = tuple(scheme.resource(declared.kind).gvk for declared in self._owns)
        watched = tuple(scheme.resource(declared.kind).gvk for declared in self._watches)
        name = self._name or (for_kind.kind.lower() if for_kind is not None else "")
        if not name:
            raise ValueError("a controller without for_() needs a name: call named('...')")
        if name in manager.controller_names:
            raise ValueError(
                f"a controller named {name!r} exists in this manager: its metrics would mix; call named('...')"
            )
        watches = [self._watch(self._for, self._for.handler, for_kind=True)] if self._for is not None else []
        for declared in self._owns:
            assert self._for is not None  # noqa: S101 - checked above
            owner = EnqueueForOwner(self._for.kind, match_every_owner=declared.match_every_owner, scheme=scheme)
            watches.append(self._watch(declared, owner))
        watches += [self._watch(declared, declared.handler) for declared in self._watches]
        watches += [Watch(raw.source, raw.handler, (*self._filters, *raw.predicates)) for raw in self._raw]
        controller = Controller(
            name,
            reconciler,
            watches=watches,
            kinds=ControllerKinds(for_kind, owned, watched),
            options=self._options,
            clock=manager.clock,
            random=manager.random,
            logger=manager.logger,
        )
        manager.controller_names.add(name)
        manager.add(controller)
        manager.add_metrics_collector(controller.metric_families)
        manager.add_healthz_check(f"stuck-reconcile-{name}", controller.check_stuck)
        return controller

    def _watch(self, declared: _Declared, handler: Handler | None, *, for_kind: bool = False) -> Watch:
        assert handler is not None  # noqa: S101 - only owns() leaves it open, and passes its own
        options = {"metadata_only": True} if declared.metadata_only else {}
        source = KindSource(self._manager.cache, declared.kind, **options)
        return Watch(source, handler, (*self._filters, *declared.predicates), for_kind)


def controller_for(manager: ControllerManager) -> ControllerBuilder:
    """Begin a controller: ``controller_for(manager).for_(Postgres).owns(STATEFUL_SET).complete(reconciler)``."""
    return ControllerBuilder(manager)


def _named(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
