"""``/healthz`` and ``/readyz``: what the kubelet asks, answered in the API server's own manner."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pyoperator.health._checks import EVENT_LOOP, CheckResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

    from pyoperator.health._checks import HealthChecks

_BUDGET = 0.8  # the kubelet gives a probe 1 s by default: an answer in time, with a margin for the way
_CHECKS_BUDGET = 0.7  # below it, so that a slow check is told from a stalled loop


def probe_application(
    *,
    healthz: HealthChecks,
    readyz: HealthChecks,
    work_loop: asyncio.AbstractEventLoop | None = None,
    liveness_path: str = "/healthz",
    readiness_path: str = "/readyz",
    where: Callable[[], str] | None = None,
) -> web.Application:
    """Build the aiohttp application of the probe server.

    Checks run on ``work_loop``; the application may be served by another thread's loop, and then says 500 (``event-loop``
    failed) within 0.8 s when the work loop does not come to run them. None means the loop that serves. All checks pass:
    ``ok``; otherwise 500 and a line per check, reasons withheld, since probes are open to everyone in the network.
    ``PATH/NAME`` runs one check and tells the reason. ``?verbose`` lists all, ``?exclude=NAME`` (repeatable) skips.
    ``where()`` says, for the reason of a stall, what the work loop's thread is doing; called by the serving thread.
    """
    from aiohttp import web

    application = web.Application()
    for path, checks in ((liveness_path, healthz), (readiness_path, readyz)):
        prober = _Prober(path, checks, work_loop, where)
        application.router.add_get(path, prober.all)
        application.router.add_get(f"{path}/", prober.all)
        application.router.add_get(f"{path}/{{name}}", prober.one)
    return application


class _Prober:
    def __init__(
        self,
        path: str,
        checks: HealthChecks,
        work_loop: asyncio.AbstractEventLoop | None,
        where: Callable[[], str] | None,
    ) -> None:
        self._where = where
        self._path = path
        self._title = path.strip("/")
        self._checks = checks
        self._work_loop = work_loop
        self._failing: dict[str, str] = {}

    async def all(self, request: web.Request) -> web.Response:
        exclude = set(request.query.getall("exclude", []))
        results = await self._run(lambda: self._checks.run(exclude=exclude, budget=_CHECKS_BUDGET))
        self._log(results)
        failed = any(not result.passed for result in results)
        if not failed and "verbose" not in request.query:
            return _text("ok")
        lines = [_line(result) for result in results]
        unknown = sorted(exclude - {result.name for result in results})
        if unknown:
            lines.append("warn: nothing to exclude by the name of " + ", ".join(f'"{name}"' for name in unknown))
        lines.append(f"{self._title} check {'failed' if failed else 'passed'}")
        return _text("\n".join(lines) + "\n", status=500 if failed else 200)

    async def one(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name != EVENT_LOOP and name not in self._checks.names:
            return _text(f"no check named {name!r}; see {self._path}?verbose\n", status=404)
        if name == EVENT_LOOP:
            results = await self._run(_nothing)
        else:
            results = await self._run(lambda: self._checks.run(only=name, budget=_CHECKS_BUDGET))
        self._log(results)
        failed = [result for result in results if not result.passed]
        if not failed:
            return _text("ok")
        return _text("".join(f"[-]{result.name} failed: {result.reason}\n" for result in failed), status=500)

    async def _run(self, run: Callable[[], Awaitable[list[CheckResult]]]) -> list[CheckResult]:
        """Have the checks run on the work loop; the first result tells whether that loop runs at all."""
        work_loop = self._work_loop
        if work_loop is None or work_loop is asyncio.get_running_loop():
            return [CheckResult(EVENT_LOOP), *await run()]

        async def on_work_loop() -> list[CheckResult]:
            return await run()

        coroutine = on_work_loop()
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, work_loop)
        except RuntimeError:
            coroutine.close()
            return [CheckResult(EVENT_LOOP, "the work loop has ended")]
        try:
            async with asyncio.timeout(_BUDGET):
                return [CheckResult(EVENT_LOOP), *await asyncio.wrap_future(future)]
        except TimeoutError:
            what = "something blocks it" if self._where is None else f"blocked at {self._where()}"
            return [CheckResult(EVENT_LOOP, f"the work loop did not run within {_BUDGET:g} s: {what}")]

    def _log(self, results: list[CheckResult]) -> None:
        # Once per change of mind, not per probe.
        log = structlog.get_logger("pyoperator.health")
        for result in results:
            if result.excluded:
                continue
            before = self._failing.get(result.name)
            if result.reason is not None and before is None:
                log.warning("health check failing", endpoint=self._path, check=result.name, reason=result.reason)
            elif result.reason is None and before is not None:
                log.info("health check passing again", endpoint=self._path, check=result.name)
            if result.reason is None:
                self._failing.pop(result.name, None)
            else:
                self._failing[result.name] = result.reason


async def _nothing() -> list[CheckResult]:
    return []


def _line(result: CheckResult) -> str:
    if result.excluded:
        return f"[+]{result.name} excluded: ok"
    return f"[+]{result.name} ok" if result.passed else f"[-]{result.name} failed: reason withheld"


def _text(body: str, *, status: int = 200) -> web.Response:
    from aiohttp import web

    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(text=body, status=status, headers=headers)
