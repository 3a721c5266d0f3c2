"""What a simulated history of an election may contain; drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pyoperator.clock import Randomness

# Lease duration, renew deadline, retry period; a short retry period costs time to simulate, so it is drawn more rarely.
_DURATIONS = (
    (15.0, 10.0, 2.0),
    (15.0, 10.0, 4.0),
    (12.0, 10.0, 4.0),
    (9.0, 5.0, 2.0),
    (3.0, 2.0, 0.5),
    (60.0, 40.0, 15.0),
    (137.0, 107.0, 26.0),
    (8.0, 3.0, 1.5),
)

Beyond = Literal["", "skew", "delay"]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Times in seconds. ``rate``: clocks run at 1 to ``rate`` times true time. ``delay``: the longest way of a write.

    Within the bound that the fence states, rate < lease / deadline and delay < lease / rate - deadline.
    """

    candidates: int
    lease_duration: float
    renew_deadline: float
    retry_period: float
    rate: float
    delay: float
    election_delay: float  # messages of the election itself may take longer than any bound
    loss: float
    errors: float
    edits: bool
    pause_between_faults: float
    chaos: float

    @classmethod
    def draw(cls, random: Randomness, beyond: Beyond = "") -> Conditions:
        """Draw conditions within the bound, or beyond it in one respect."""
        lease, deadline, retry = random.choice(_DURATIONS)
        widest = lease / deadline
        rate = 1.0 if random.random() < 0.2 else random.uniform(1.0, 1.0 + 0.98 * (widest - 1.0))
        if beyond == "skew":
            rate = random.uniform(1.1, 1.6) * widest
        slack = max(lease / rate - deadline, 0.0)
        delay = slack * random.uniform(1.3, 4.0) if beyond == "delay" else slack * random.uniform(0.0, 0.999)
        return cls(
            candidates=random.choice((1, 2, 2, 3, 3, 3, 4, 5)),
            lease_duration=lease,
            renew_deadline=deadline,
            retry_period=retry,
            rate=rate,
            delay=delay,
            election_delay=random.choice((0.05 * retry, 0.5 * deadline, 1.2 * deadline)),
            loss=random.choice((0.0, 0.03, 0.1, 0.25)),
            errors=random.choice((0.0, 0.05, 0.2)),
            edits=random.random() < 0.4,
            pause_between_faults=lease * random.uniform(0.15, 0.6),
            chaos=lease * random.uniform(3.0, 6.0),
        )
