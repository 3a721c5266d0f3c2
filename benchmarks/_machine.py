"""On what a run was made: enough to judge its figures, nothing that names the machine or its owner."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def describe() -> dict[str, str]:
    """Return processor, cores, memory, kernel, interpreter and load of now, as texts."""
    return {
        "processor": _after("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int((_after('/proc/meminfo', 'MemTotal') or '0').split()[0]) / 1024 / 1024:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def now() -> str:
    """Return the time of day as the name of a run: ``2026-11-21T18-30-00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")


def _after(path: str, key: str) -> str:
    try:
        text = Path(path).read_text("utf-8")
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(key)), "")
