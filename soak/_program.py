"""The operator as a process: ``python -m soak._program PORT`` against $KUBECONFIG; PORT serves metrics and how it is.

``/debug/soak`` answers with tasks, queue and counts, with ``?tracked=1`` also the number of Python objects;
``/debug/tasks`` with what the tasks run; ``/debug/cache`` with the version of every object in the cache.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

from pyoperator.manager import configure_logging
from soak._operator import build, task_names

if TYPE_CHECKING:
    from soak._operator import Operator


def add_endpoints(operator: Operator) -> None:
    """Let the metrics server tell how the operator is."""

    async def condition(request: web.Request) -> web.Response:
        # Counting Python objects takes a list of them: not every second.
        tracked = len(gc.get_objects()) if "tracked" in request.query else 0
        return web.json_response(
            {**asdict(operator.condition()), "tasks": len(asyncio.all_tasks()), "tracked": tracked}
        )

    async def cached(_request: web.Request) -> web.Response:
        return web.json_response(operator.cached())

    async def tasks(_request: web.Request) -> web.Response:
        return web.json_response(task_names())

    operator.manager.add_metrics_server_extra_handler("/debug/soak", condition)
    operator.manager.add_metrics_server_extra_handler("/debug/tasks", tasks)
    operator.manager.add_metrics_server_extra_handler("/debug/cache", cached)


def main(port: int) -> int:
    """Run until SIGTERM and return the exit code."""
    configure_logging("warning")
    operator = build(metrics_bind_address=f"127.0.0.1:{port}")
    add_endpoints(operator)
    return operator.manager.run()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
