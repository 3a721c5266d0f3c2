"""What this process wrote into the Lease, or may have written: how a write whose answer was lost is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyoperator.objects import format_micro_time

if TYPE_CHECKING:
    from pyoperator.leaderelection._record import LeaseRecord, Terms

_REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class Claim:
    """Terms this process sent, on which Lease (uid, "" for a new one), and when (elapsed)."""

    terms: Terms
    uid: str
    sent_at: float


class Claims:
    """The claims that may still be, or come, true; oldest first. The one that matches a Lease dates its validity."""

    def __init__(self) -> None:
        self._claims: list[Claim] = []
        self._last_renewed = ""

    def add(self, terms: Terms, uid: str, now: float) -> Claim:
        claim = Claim(terms, uid, now)
        self._claims = [*self._claims[-_REMEMBERED:], claim]
        self._last_renewed = terms.renewed
        return claim

    def of(self, record: LeaseRecord) -> Claim | None:
        """Return the claim that ``record`` carries, if it is one of ours to the last field."""
        for claim in self._claims:
            if claim.terms == record.terms and claim.uid in {"", record.uid}:
                return claim
        return None

    def drop(self, unsent: Claim) -> None:
        """Forget a claim that never left this process."""
        self._claims = [claim for claim in self._claims if claim is not unsent]

    def settle(self, claim: Claim) -> None:
        """Forget those before ``claim``, which came true: they were written on versions that are past."""
        self._claims = self._claims[self._claims.index(claim) :]

    def clear(self) -> None:
        self._claims.clear()

    def stamp(self, wall: float) -> str:
        """Render now, never twice the same: renewTime is what tells our writes apart."""
        text = format_micro_time(wall)
        while text == self._last_renewed or any(claim.terms.renewed == text for claim in self._claims):
            wall += 1e-6
            text = format_micro_time(wall)
        return text

    @property
    def latest(self) -> float:
        """When (elapsed) the latest was sent; minus infinity if there is none."""
        return self._claims[-1].sent_at if self._claims else float("-inf")

    def __bool__(self) -> bool:
        return bool(self._claims)

    def __repr__(self) -> str:
        return f"<Claims {len(self._claims)}>"
