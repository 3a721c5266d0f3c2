"""What rages when: a storm's phases, each with one fault that dominates."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyoperator.testing import Faults

DURATION = 600.0
IDLE_TIMEOUT = 15.0
BOOKMARKS = 10.0

# All the time: messages take time, and enough streams break and versions expire for the dominating fault to meet both
# watches and lists.
BASE = Faults(latency=(0.001, 0.05), answer_latency=(0.001, 0.05), cut=0.01, gone_event=0.05, lag=(5, 120))


@dataclass(frozen=True)
class Phase:
    """``outage``: connections are refused; ``partition``: everything vanishes. ``compaction``: seconds between two."""

    name: str
    seconds: float
    faults: Faults
    outage: bool = False
    partition: bool = False
    compaction: float = 0.0
    hang_up: float = 3.0  # seconds between two moments at which the server ends all watches


def _phase(name: str, **faults: float | tuple[float, float]) -> Phase:
    return Phase(name, 21.0, replace(BASE, **faults))  # type: ignore[arg-type]  # fields of Faults


EVERYTHING = replace(
    BASE,
    latency=(0.001, 0.5),
    refused=0.03,
    broken=0.03,
    half_open=0.01,
    errors=0.03,
    throttled=0.02,
    unauthorized=0.02,
    unavailable=0.02,
    bad_gateway=0.03,
    html=0.03,
    garbage=0.03,
    gone=0.03,
    gone_event=0.1,
    empty=0.05,
    silent=0.02,
    recut=0.3,
    cut=0.02,
    repeated=0.03,
    long_line=0.0003,
    stale=0.3,
    lying=0.2,
)

PHASES = (
    # First lists from an old state; then compactions, while lists in pages are long and a second try comes soon.
    Phase("start", 5.0, replace(BASE, stale=0.5)),
    Phase(
        "compaction", 21.0, replace(BASE, gone_event=0.5, lying=0.9, latency=(0.3, 1.0), lag=(2, 34)), compaction=0.3
    ),
    _phase("latency", latency=(0.01, 2.0), answer_latency=(0.01, 2.0)),
    _phase("refused", refused=0.5),
    _phase("broken", broken=0.5),
    _phase("half-open", half_open=0.3),
    _phase("500", errors=0.5),
    _phase("429", throttled=0.5),
    _phase("401", unauthorized=0.5),
    _phase("503", unavailable=0.5),
    _phase("502 HTML", bad_gateway=0.5),
    _phase("200 HTML", html=0.5),
    _phase("garbage", garbage=0.5),
    _phase("410 status", gone=0.4),
    _phase("410 event", gone_event=0.4),
    _phase("empty stream", empty=0.5),
    _phase("silent stream", silent=0.3),
    _phase("recut chunks", recut=1.0),
    _phase("cut", cut=0.3),
    _phase("repeated", repeated=0.3),
    _phase("long line", long_line=0.003),
    _phase("stale list", stale=0.8, gone_event=0.4),
    _phase("lying list", lying=0.8, gone_event=0.4),
    Phase("outage", 25.0, BASE, outage=True),
    Phase("partition", 25.0, BASE, partition=True),
    Phase("everything", DURATION - 5.0 - 50.0 - 22 * 21.0, EVERYTHING, compaction=4.0),
)
