"""The roles of ``config/rbac`` are what the operator needs: not a verb more, not a verb less."""

from __future__ import annotations

from typing import Any

import pytest

from pyoperator.client import LeadershipLost
from tests.deploy.manifests import Grant, grants, roles, used, without
from tests.deploy.restricted_world import USER, RestrictedWorld
from tests.deploy.scenario import play
from tests.support import run_virtual

ALL = sorted(set(grants(roles())))


def _play(removed: Grant | None, *, watch_list: bool = True) -> list[dict[str, Any]]:
    """Play with one permission less; return the audit log. ``watch_list``: on a server that streams initial states."""

    async def main() -> list[dict[str, Any]]:
        world = RestrictedWorld(watch_list=watch_list)
        await world.install(without(removed))
        try:
            await play(world)
        finally:
            await world.close()
        return list(world.audit.events())

    return run_virtual(main)


def test_what_is_granted_is_what_is_used() -> None:
    granted, seen = set(ALL), used(_play(None), USER) | used(_play(None, watch_list=False), USER)
    assert {str(grant) for grant in granted - seen} == set(), "granted, but never used"
    assert {str(grant) for grant in seen - granted} == set(), "used, but not granted"


@pytest.mark.parametrize("removed", ALL, ids=str)
def test_without_any_one_permission_something_breaks(removed: Grant) -> None:
    with pytest.raises((AssertionError, ExceptionGroup, LeadershipLost)) as caught:
        # Only a server that does not stream needs lists.
        _play(removed, watch_list=removed.verb != "list")
    print(f"without {removed}: {caught.value}")
