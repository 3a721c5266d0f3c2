from __future__ import annotations

import pytest

from pyoperator.testing._audit_lines import LeaseWrite, Write
from pyoperator.testing._lease_history import LeaseHistory

USERS = frozenset({"user-a", "user-b"})


def lease(*rows: tuple[str, str, float]) -> LeaseHistory:
    """Return the history of (user, holder, completed) writes, of 3 s each."""
    return LeaseHistory(
        [
            LeaseWrite(user, holder, 3.0, 0, version, at - 0.001, at)
            for version, (user, holder, at) in enumerate(rows, start=1)
        ],
        USERS,
    )


def write(user: str, at: float) -> Write:
    return Write(user, "patch", "", "configmaps", "", "ns", "c", at, at + 0.01, "/x")


def test_terms_end_by_release_silence_or_an_edit() -> None:
    history = lease(
        ("user-a", "a", 1),
        ("user-a", "a", 2),
        ("user-a", "", 3),
        ("user-b", "b", 3.02),
        ("user-b", "b", 4),
        ("user-a", "a2", 7.05),
        ("admin", "nobody", 8),
        ("user-b", "b", 11.5),
    )
    told = [(one.user, one.start, one.end, one.how, one.leaderless) for one in history.tenures()]
    assert told == [
        ("user-a", 1, 3, "released", pytest.approx(0.02)),
        ("user-b", 3.02, 4, "expired", pytest.approx(3.05)),
        ("user-a", 7.05, 8, "edited", pytest.approx(3.5)),
        ("user-b", 11.5, 11.5, "", None),
    ]


def test_silence_counts_from_before_the_last_renewal() -> None:
    history = LeaseHistory(
        [LeaseWrite("user-a", "a", 3.0, 0, 1, 1.0, 2.2), LeaseWrite("user-b", "b", 3.0, 1, 2, 4.2, 4.3)], USERS
    )
    first, last = history.tenures()
    assert first.leaderless == pytest.approx(2.1)
    assert first.silence == pytest.approx(3.3)
    assert last.silence is None


def test_an_edit_that_keeps_the_holder_renews_nothing() -> None:
    history = lease(("user-a", "a", 1), ("admin", "a", 2.5), ("user-b", "b", 4.1))
    first, _ = history.tenures()
    assert (first.how, first.end) == ("edited", 2.5)
    assert history.why_foreign(write("user-a", 4.05), 5.0) == "expired"


def test_a_term_goes_on_that_is_renewed_after_an_edit() -> None:
    history = lease(("user-a", "a", 1), ("admin", "a", 2.5), ("user-a", "a", 2.6), ("user-b", "b", 6))
    first, _ = history.tenures()
    assert (first.how, first.end) == ("expired", 2.6)


def test_the_holder_has_a_moment_to_notice_an_edit() -> None:
    history = lease(("user-a", "a", 1), ("admin", "nobody", 2), ("admin", "", 2.1))
    assert history.why_foreign(write("user-a", 1.9), 0.5) == ""
    assert history.why_foreign(write("user-a", 2.4), 0.5) == "edited"
    assert history.why_foreign(write("user-a", 2.6), 0.5) == "deposed"
    assert history.why_foreign(write("user-a", 2.4), 0.0) == "deposed"


def test_no_such_moment_once_somebody_leads() -> None:
    history = lease(("user-a", "a", 1), ("admin", "", 2), ("user-b", "b", 2.02))
    assert history.why_foreign(write("user-a", 2.1), 5.0) == "deposed"
    assert history.why_foreign(write("user-b", 2.1), 5.0) == ""


def test_an_edit_is_no_excuse_for_one_who_did_not_lead() -> None:
    history = lease(("user-b", "b", 0.5), ("user-a", "a", 1), ("admin", "nobody", 2))
    assert history.why_foreign(write("user-b", 2.1), 5.0) == "deposed"
    assert lease(("admin", "nobody", 2)).why_foreign(write("user-a", 2.1), 5.0) == "never led"
