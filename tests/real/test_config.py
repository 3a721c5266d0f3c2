"""``config/default`` on a real server: CRDs and Namespace, a dry run of all, all, and all once more."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import CONFIG
from tests.real.server import administrator, install, kubectl, needs_real_server

pytestmark = [pytest.mark.real_server, needs_real_server]
DEFAULT = str(CONFIG / "default")
VERSIONS = ("get", "-k", DEFAULT, "-o", "custom-columns=V:.metadata.resourceVersion")


async def test_it_applies_and_applying_it_again_changes_nothing() -> None:
    await kubectl("apply", "-k", str(CONFIG / "crd"))
    async with administrator() as client:
        await install(client)
    assert "error" not in (await kubectl("apply", "--dry-run=server", "-k", DEFAULT)).lower()
    await kubectl("apply", "-k", DEFAULT)
    before = await kubectl(*VERSIONS)
    again = (await kubectl("apply", "-k", DEFAULT)).splitlines()
    # kubectl sends a budget's selector always, as a replacement, and then says "configured"; the server sees no change.
    assert [line for line in again if not line.endswith(" unchanged")] == [
        "poddisruptionbudget.policy/postgres-operator-postgres-operator-pdb configured"
    ]
    assert await kubectl(*VERSIONS) == before
    await kubectl("delete", "deployment", "postgres-operator-controller-manager", "-n", "postgres-operator-system")
