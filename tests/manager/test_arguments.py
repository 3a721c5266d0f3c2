"""What a manager can't use is refused where it is given, with the right form in the message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pyoperator.clock import SystemClock
from pyoperator.manager import CacheConfiguration, Manager, ManagerError
from pyoperator.objects import Scheme
from tests.manager.support import LeaseServer, in_process
from tests.support import run_virtual

if TYPE_CHECKING:
    from collections.abc import Callable


class Worker:
    async def run(self) -> None: ...


class NeedsContext:
    async def run(self, context: object) -> None: ...


class AsInGo:
    def need_leader_election(self) -> bool:
        return False

    async def run(self) -> None: ...


class Synchronous:
    def run(self) -> None: ...


async def work() -> None: ...


async def work_with(client: object) -> None: ...


def made() -> Manager:
    return Manager(transport_factory=in_process(LeaseServer()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: Worker, r"it is a class, give an instance, Worker\(\.\.\.\)"),
        (lambda: work(), "give an object"),  # noqa: PLW0108 - the call is the mistake
        (lambda: print, "give an object"),
        (lambda: None, "give an object"),
        (lambda: NeedsContext(), r"run\(context: .*\).* is called without arguments"),  # noqa: PLW0108
        (lambda: work_with, "called without arguments"),
        (lambda: AsInGo(), "need_leader_election is a method"),  # noqa: PLW0108
    ],
)
def test_runnables(given: Callable[[], Any], message: str) -> None:
    with pytest.raises(ManagerError, match=message):
        made().add(given())


def test_a_run_that_is_not_async_fails_with_its_name() -> None:
    async def main() -> None:
        manager = made()
        runnable: Any = Synchronous()
        manager.add(runnable)
        with pytest.raises(TypeError, match=r"Synchronous: run\(\) returned None, .*async def run"):
            await manager.start()

    run_virtual(main)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda manager: manager.add_healthz_check("db", True), "is no function"),
        (lambda manager: manager.add_readyz_check("db", work()), "is no function"),
        (lambda manager: manager.add_readyz_check("db", work_with), "without arguments"),
        (lambda manager: manager.add_healthz_check("db", Worker), "without arguments"),
        (lambda manager: manager.add_metrics_collector([]), "is no source"),
        (lambda manager: manager.add_metrics_collector(work_with), "is no source"),
        (lambda manager: manager.add_metrics_server_extra_handler("/debug", work), "the request"),
        (lambda manager: manager.add_metrics_server_extra_handler("/debug", "text"), "the request"),
        (lambda manager: manager.add(Worker(), group="leaders"), "leaders' is unknown: use one of caches"),
        (lambda manager: manager.event_recorder(""), "needs a component"),
    ],
)
def test_other_doors(use: Callable[[Any], object], message: str) -> None:
    manager = made()
    with pytest.raises((TypeError, ValueError), match=message) as refusal:
        use(manager)
    if refusal.type is TypeError:
        assert manager.readyz.names == made().readyz.names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"configuration": "~/.kube/config"}, r"Configuration\.load"),
        ({"scheme": Scheme}, r"Scheme\(\.\.\.\)"),
        ({"cache": {"default_namespaces": ("a",)}}, "CacheConfiguration"),
        ({"random": 7}, "Randomness"),
        ({"clock": SystemClock}, "give a clock"),
        ({"namespaces": "shop"}, r"namespaces=\('shop',\)"),
        ({"cache": CacheConfiguration(default_namespaces="shop")}, r"namespaces=\('shop',\)"),  # type: ignore[arg-type]
    ],
)
def test_parts(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ManagerError, match=message):
        Manager(**{"transport_factory": in_process(LeaseServer()), **options})


def test_what_is_right_is_taken() -> None:
    manager = made()
    manager.add(Worker())
    manager.add(work)
    manager.add_healthz_check("quick", lambda: None)
    manager.add_metrics_collector(lambda: [])
    assert len(manager.status().runnables["leader"]) == 2
