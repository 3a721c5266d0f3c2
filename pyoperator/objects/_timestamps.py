"""Kubernetes' two text forms of an instant: Time (whole seconds) and MicroTime (microseconds), RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def format_time(wall: float) -> str:
    """Render Unix seconds as ``metav1.Time``: ``2026-01-01T00:00:00Z``."""
    return datetime.fromtimestamp(int(wall), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(wall: float) -> str:
    """Render Unix seconds as ``metav1.MicroTime``: ``2026-01-01T00:00:00.000000Z``."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Parse either form (or any RFC 3339 instant) to Unix seconds; raises ValueError for anything else."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: an RFC 3339 instant ends in Z or an offset")
    return instant.timestamp()
