"""What one process used, read from the kernel, and the line that every program of the comparison prints."""

from __future__ import annotations

import ctypes
import gc
import os
from dataclasses import dataclass
from pathlib import Path

_MORE_PERCENTILES = ("00", "10", "25", "75", "95", "98", "995", "999")
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int | str = "self") -> float:
    """Return user and system time of a process, all threads, since its start, import of Python included."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_megabytes(field: str, pid: int | str = "self") -> float:
    """Return ``VmRSS`` (now) or ``VmHWM`` (peak) of a process in MiB, 0 if it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def settle() -> None:
    """Give freed memory back to the system, as the Go program does before its last reading (FreeOSMemory)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


@dataclass(frozen=True, slots=True)
class Line:
    """One parsed line ``key=value key=value ...``."""

    values: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Line | None:
        """Return the line in ``text`` that begins with ``peer=``, or None."""
        for line in text.splitlines():
            if line.startswith("peer="):
                return cls(dict(pair.split("=", 1) for pair in line.split()))
        return None

    def text(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.values.items())

    def number(self, name: str) -> float:
        return float(self.values.get(name, "nan"))


def usage_line(mode: str, n: int, wall: float) -> str:
    """Return the line of sync, noop and status; CPU and peak are read before memory is settled."""
    cpu, peak = cpu_seconds(), memory_megabytes("VmHWM")
    settle()
    return (
        f"peer=pyoperator mode={mode} n={n} wall_s={wall:.3f} cpu_s={cpu:.2f} peak_mb={peak:.0f} "
        f"rss_mb={memory_megabytes('VmRSS'):.0f}"
    )


def latency_line(milliseconds: list[float]) -> str:
    """Return the line of latency: percentiles of creation to reconcile; those that the peers don't print come last."""
    ordered = sorted(milliseconds)

    def at(quantile: float) -> float:
        return ordered[int(quantile * (len(ordered) - 1))]

    return (
        f"peer=pyoperator mode=latency n={len(ordered)} p50_ms={at(0.5):.2f} p90_ms={at(0.9):.2f} "
        f"p99_ms={at(0.99):.2f} max_ms={at(1.0):.2f} cpu_s={cpu_seconds():.2f} "
        f"peak_mb={memory_megabytes('VmHWM'):.0f} rss_mb={memory_megabytes('VmRSS'):.0f} "
        + " ".join(f"p{name}_ms={at(float(f'0.{name}')):.2f}" for name in _MORE_PERCENTILES)
    )
