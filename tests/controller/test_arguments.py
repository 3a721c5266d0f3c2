"""What can't work is refused where it is given, with the right form in the message, not at every event."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.controller import (
    ChannelSource,
    Controller,
    ControllerOptions,
    EnqueueForObject,
    EnqueueMapped,
    FunctionSource,
    HandlerFunctions,
    InformerSource,
    Request,
    TokenBucket,
    Watch,
    controller_for,
    predicates,
)
from tests.controller.test_builder import CONFIG_MAP, POSTGRES, SECRET, FakeManager, nothing
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable


class Good:
    def __init__(self, client: object = None) -> None:
        self.client = client

    async def reconcile(self, request: Request) -> None: ...


class NoArgument:
    async def reconcile(self) -> None: ...


class TwoArguments:
    async def reconcile(self, request: Request, client: object) -> None: ...


class Yields:
    async def reconcile(self, request: Request) -> Any:
        yield request


class OddPredicate:
    def create(self, event: object) -> bool:
        return True


class AsyncHandler:
    async def handle(self, event: object, queue: object, priority: int) -> None: ...


class OldHandler:
    def handle(self, event: object, queue: object) -> None: ...


def plain(event: Any) -> Any:
    return []


async def plain_async(event: Any) -> Any:
    return []


def none() -> None: ...


RECONCILERS: list[tuple[Any, str]] = [
    (Good, r"Good is a class: give an instance, Good\(\.\.\.\)"),
    (NoArgument(), "takes one argument"),
    (TwoArguments(), "takes one argument"),
    (Yields(), "generator"),
    (none, "takes one argument"),
    (None, "is no reconciler"),
    ("reconcile", "is no reconciler"),
]
HANDLERS: list[tuple[Any, str]] = [
    (plain, r"EnqueueMapped\(plain\)"),
    (EnqueueForObject, "is a class"),
    (AsyncHandler(), "is async"),
    (OldHandler(), r"handle\(event, queue, priority\)"),
    (None, "is no handler"),
]
PREDICATES: list[tuple[Any, str]] = [
    (plain, r"predicates\.Predicates\(update=plain\)"),
    (predicates.GenerationChanged, "is a class"),
    (OddPredicate(), "no update, no delete, no generic"),
    ("app=db", "is no predicate"),
]


def refused(use: Callable[[FakeManager], object], message: str) -> None:
    async def main() -> None:
        manager = FakeManager()
        with pytest.raises(TypeError, match=message):
            use(manager)
        assert not manager.added
        assert not manager.controller_names

    run_virtual(main)


@pytest.mark.parametrize(("given", "message"), RECONCILERS)
def test_reconcilers(given: Any, message: str) -> None:
    refused(lambda manager: controller_for(manager).for_(POSTGRES).complete(given), message)
    with pytest.raises(TypeError, match=message):
        Controller("alone", given)


@pytest.mark.parametrize(
    "given", [Good(), Good().reconcile, nothing, functools.partial(nothing), lambda _request: None]
)
def test_all_forms_of_a_reconciler_are_taken(given: Any) -> None:
    async def main() -> None:
        controller_for(FakeManager()).for_(POSTGRES).complete(given)

    run_virtual(main)


@pytest.mark.parametrize(("given", "message"), HANDLERS)
def test_handlers(given: Any, message: str) -> None:
    refused(lambda manager: controller_for(manager).watches(SECRET, given), message)
    refused(lambda manager: controller_for(manager).watches_metadata(SECRET, given), message)
    refused(lambda manager: controller_for(manager).watches_raw_source(ChannelSource(), given), message)
    with pytest.raises(TypeError, match=message):
        Watch(ChannelSource(), given)


@pytest.mark.parametrize(("given", "message"), PREDICATES)
def test_predicates(given: Any, message: str) -> None:
    handler = EnqueueForObject()
    for use in (
        lambda manager: controller_for(manager).for_(POSTGRES, predicates=[given]),
        lambda manager: controller_for(manager).owns(SECRET, predicates=[given]),
        lambda manager: controller_for(manager).watches(SECRET, handler, predicates=[given]),
        lambda manager: controller_for(manager).watches_metadata(SECRET, handler, predicates=[given]),
        lambda manager: controller_for(manager).watches_raw_source(ChannelSource(), handler, predicates=[given]),
        lambda manager: controller_for(manager).with_predicates(given),
        lambda manager: controller_for(manager).with_event_filter(predicates.GenerationChanged(), given),
        lambda _manager: predicates.and_(given),
        lambda _manager: predicates.or_(predicates.GenerationChanged(), given),
        lambda _manager: predicates.not_(given),
        lambda _manager: Watch(ChannelSource(), handler, [given]),
    ):
        refused(use, message)


def test_a_single_predicate_is_no_list() -> None:
    one: Any = predicates.GenerationChanged()
    refused(lambda manager: controller_for(manager).for_(POSTGRES, predicates=one), "give a list")


@pytest.mark.parametrize("given", [ChannelSource, plain, CONFIG_MAP, None])
def test_sources(given: Any) -> None:
    refused(
        lambda manager: controller_for(manager).watches_raw_source(given, EnqueueForObject()), "is no source|is a class"
    )


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: EnqueueMapped(plain_async), "is async"),  # type: ignore[arg-type]
        (lambda: EnqueueMapped([Request("a", "b")]), "give a function"),  # type: ignore[arg-type]
        (lambda: EnqueueMapped(none), "will be called with"),  # type: ignore[arg-type]
        (lambda: HandlerFunctions(update=plain), "event, queue, priority"),  # type: ignore[arg-type]
        (lambda: predicates.Predicates(update=plain_async), "is async"),  # type: ignore[arg-type]
        (lambda: predicates.Predicates(create=True), "give a function"),  # type: ignore[arg-type]
        (lambda: predicates.LabelSelectorMatches({"app": "db"}), "give a string"),  # type: ignore[arg-type]
        (lambda: FunctionSource(none), "deliver"),  # type: ignore[arg-type]
        (lambda: InformerSource(SECRET), "get_informer"),  # type: ignore[arg-type]
        (lambda: ControllerOptions(rate_limit=TokenBucket(10, 100)), "give a function"),  # type: ignore[arg-type]
        (lambda: ControllerOptions(on_dead_letter=plain), "request, error"),  # type: ignore[arg-type]
        (lambda: ControllerOptions(backoff=5), "Backoff"),  # type: ignore[arg-type]
        (lambda: ControllerOptions(aging=True), "Aging"),  # type: ignore[arg-type]
        (lambda: ControllerOptions(stuck_after="60"), "give a number"),  # type: ignore[arg-type]
    ],
)
def test_what_is_built_from_functions(use: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        use()


@pytest.mark.parametrize("given", [ControllerOptions, {"max_concurrent_reconciles": 2}, None])
def test_options(given: Any) -> None:
    refused(lambda manager: controller_for(manager).with_options(given), "ControllerOptions")


@pytest.mark.parametrize("name", ["", "a/b", "böse", "-x", "two words"])
def test_names_that_no_health_check_can_have(name: str) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="use letters"):
            controller_for(FakeManager()).named(name)

    run_virtual(main)
    refused(lambda manager: controller_for(manager).named(Good), "give a string")  # type: ignore[arg-type]


def test_a_coroutine_given_by_mistake_is_closed() -> None:
    """Python would warn that it was never awaited, which the gate turns into an error."""
    refused(lambda manager: controller_for(manager).for_(POSTGRES).complete(nothing(Request("", "x"))), "no reconciler")  # type: ignore[arg-type]
