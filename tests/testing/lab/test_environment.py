"""What the lab's processes see of the caller's environment."""

from __future__ import annotations

from pathlib import Path

from pyoperator.testing.lab._environment import clean_environment

HOSTILE = {
    "KUBECONFIG": "/home/me/production",
    "HOME": "/home/me",
    "KUBERNETES_SERVICE_HOST": "203.0.113.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "POD_NAME": "somebody-else",
    "POD_NAMESPACE": "production",
    "HTTPS_PROXY": "http://proxy:3128",
    "POSTGRES_OPERATOR_LEASE_DURATION": "1s",
    "TMPDIR": "/elsewhere",
}


def test_only_what_finds_programs_and_sets_the_language_gets_in() -> None:
    innocent = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "LC_ALL": "C", "PYTHONPATH": "/src"}
    cleaned = clean_environment({**HOSTILE, **innocent}, Path("/lab/home"), POD_NAME="replica-0-1")
    assert cleaned == {
        **innocent,
        "HOME": "/lab/home",
        "TMPDIR": "/lab/home",
        "PYTHONUNBUFFERED": "1",
        "POD_NAME": "replica-0-1",
    }
