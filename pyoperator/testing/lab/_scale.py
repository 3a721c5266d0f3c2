"""How big and how fast a lab is: replicas, objects, and the election's three durations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pyoperator.leaderelection import ElectionConfig, ElectionConfigError
from pyoperator.testing.lab._errors import LabError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def parse_duration(text: str) -> float:
    """Return the seconds of ``4``, ``4s``, ``500ms`` or ``1m30s``; raises ValueError, which says how to write one."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write it as 4s, 500ms, 1m30s, or 4 for seconds")
    if len(parts) > 1 and any(unit == "" for _, unit in parts):
        raise ValueError(f"{text!r} is not a duration: each part needs its unit, as in 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Write seconds as operators' flags take them: ``15s``, ``0.5s`` becomes ``500ms``."""
    if seconds == int(seconds):
        return f"{int(seconds)}s"
    return f"{round(seconds * 1000)}ms"


@dataclass(frozen=True, slots=True)
class Scale:
    """Number of replicas and (for the demo) of further objects; durations of the election in seconds.

    Raises LabError for numbers that make no sense and for durations that no elector would take.
    """

    replicas: int = 3
    objects: int = 50
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if self.replicas < 1:
            raise LabError(f"{self.replicas} replicas can't run anything: ask for at least 1 (REPLICAS=3)")
        if self.objects < 0:
            raise LabError(f"{self.objects} objects can't be made: ask for 0 or more (OBJECTS=50)")
        try:
            # The operators would refuse the same; said here, it costs no start of a server.
            ElectionConfig(
                name="lab",
                namespace="lab",
                identity="lab",
                lease_duration=self.lease_duration,
                renew_deadline=self.renew_deadline,
                retry_period=self.retry_period,
            )
        except ElectionConfigError as error:
            raise LabError(str(error)) from error
