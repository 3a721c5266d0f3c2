"""The ``/metrics`` endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

    from pyoperator.metrics._registry import MetricsRegistry

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def metrics_application(
    registry: MetricsRegistry, *, path: str = "/metrics", extra_handlers: Mapping[str, Handler] | None = None
) -> web.Application:
    """Build the aiohttp application that serves ``registry`` at ``path``, and ``extra_handlers`` (path -> handler)."""
    from aiohttp import web

    async def scrape(request: web.Request) -> web.Response:
        body, content_type = registry.render(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    application = web.Application()
    application.router.add_get(path, scrape)
    for extra_path, handler in (extra_handlers or {}).items():
        application.router.add_route("*", extra_path, handler)
    return application
