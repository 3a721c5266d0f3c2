"""Who led when, read from the writes of one Lease: the question behind every judgement, answered by bisection.

A long run has hundreds of thousands of writes and thousands of renewals; looking at all renewals for each write would
take hours.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from pyoperator.testing._audit_lines import LeaseWrite, Write

End = Literal["released", "expired", "edited", ""]


@dataclass(frozen=True, slots=True)
class Tenure:
    """One holder's time: from its acquisition to the end of its claim, Unix seconds by the server's clock.

    ``end`` is the commit of its release, of the edit by hand after which it renewed no more, or of its last renewal
    (``how`` is ``expired``: somebody else took over, or "": the log ends with it). ``leaderless`` is the time from ``end`` to the
    next acquisition, None if there is none; ``silence`` the same from the moment its last own write came in, which is
    before that write was carried out: nobody may take over in silence before that many seconds have reached the term.
    """

    user: str
    holder: str
    start: float
    end: float
    how: End
    renewed: float
    leaderless: float | None = None
    silence: float | None = None


class LeaseHistory:
    """The successful writes of one Lease, by resourceVersion.

    ``processes``: the users that are candidates; a Lease write by anybody else is an edit by hand.
    """

    def __init__(self, writes: Iterable[LeaseWrite], processes: Container[str]) -> None:
        self.writes = sorted(writes, key=lambda write: write.version)
        self._processes = processes
        # The order of commits; by the clock two of them may be a hair the other way round.
        self._completed = list(accumulate((write.completed for write in self.writes), max))
        self._identities: dict[str, set[str]] = {}
        self._renewals: dict[str, list[LeaseWrite]] = {}
        for write in self.writes:
            if write.holder:
                self._identities.setdefault(write.user, set()).add(write.holder)
                self._renewals.setdefault(write.user, []).append(write)

    def count_before(self, moment: float) -> int:
        """Return how many writes were completed by then."""
        return bisect_right(self._completed, moment)

    def identities(self, user: str) -> set[str]:
        """Return the holders that a user has named in its own writes."""
        return self._identities.get(user, set())

    def why_foreign(self, write: Write, reaction: float) -> str:
        """Return why a write was foreign, "" if it was the leader's, ``edited`` if it only had not noticed an edit yet.

        The Lease as it certainly was when the request came in: its highest version whose write was completed by then.
        An edit by hand gives no warning and puts nobody in charge: for ``reaction`` seconds, or until a candidate takes
        the Lease, its holder may not know of it.
        """
        known = max(1, self.count_before(write.received))
        own = self.identities(write.user)
        renewals = self._renewals.get(write.user, [])
        renewed = bisect_right(renewals, write.received, key=lambda record: record.completed)
        if not renewed:
            return "never led"
        current = self.writes[known - 1]
        if current.holder not in own:
            edit = self._edit_before(known)
            if edit is not None and self.writes[edit - 1].user == write.user and self.writes[edit - 1].holder in own:
                late = write.received - self.writes[edit].completed
                return "edited" if late <= reaction else "deposed"
            return "deposed" if current.holder else "released"
        last = renewals[renewed - 1]
        return "expired" if write.received > last.completed + last.duration else ""

    def _edit_before(self, known: int) -> int | None:
        """Return the first of the edits by hand that end the first ``known`` writes, None if a candidate's is last."""
        first = known
        while first > 1 and self.writes[first - 1].user not in self._processes:
            first -= 1
        return first if first < known else None

    def was_overtaken(self, write: Write) -> bool:
        """Tell whether somebody else's Lease write was carried out while this write was on its way."""
        own = self.identities(write.user)
        for record in self.writes[self.count_before(write.received) :]:
            if record.received >= write.completed:
                return False
            if record.holder not in own:
                return True
        return False

    def takeover(self, user: str, at: float | None) -> float | None:
        """Return the seconds from ``at`` until another holder's acquisition; None unless ``user`` led at that moment."""
        if at is None:
            return None
        own = self.identities(user)
        known = self.count_before(at)
        if not known or self.writes[known - 1].holder not in own:
            return None
        for record in self.writes[known:]:
            if record.holder and record.holder not in own:
                return record.completed - at
        return None

    def hand_overs(self) -> Iterator[tuple[LeaseWrite, LeaseWrite]]:
        """Yield each release by a candidate with the acquisition that followed it."""
        for released, taken in pairwise(self.writes):
            if not released.holder and taken.holder and released.user in self._processes:
                yield released, taken

    def tenures(self) -> list[Tenure]:
        """Return the tenures of candidates, oldest first."""
        found: list[Tenure] = []
        current: LeaseWrite | None = None  # the acquisition
        last: LeaseWrite | None = None  # the newest write of the same tenure
        edit: LeaseWrite | None = None  # by hand, since that write, its holder left as it was

        def close(how: End, end: float) -> None:
            nonlocal current
            if current is not None and last is not None:
                renewed = last.received
                found.append(Tenure(current.user, current.holder, current.completed, end, how, renewed))
            current = None

        for write in self.writes:
            if current is not None and last is not None and write.holder != current.holder:
                if write.user not in self._processes:
                    close("edited", write.completed)
                elif not write.holder:
                    close("released", write.completed)
                elif edit is not None:
                    close("edited", edit.completed)
                else:
                    close("expired", last.completed)
            if write.user not in self._processes:
                edit = write
            elif write.holder:
                if current is None:
                    current = write
                last, edit = write, None
        if last is not None:
            close("", last.completed)
        return [
            replace(one, leaderless=after.start - one.end, silence=after.start - one.renewed)
            for one, after in pairwise(found)
        ] + found[-1:]

    def __repr__(self) -> str:
        return f"LeaseHistory({len(self.writes)} writes by {len(self._identities)} candidates)"
