"""``pyoperator apiserver`` as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-c", "from pyoperator.cli import main; main()"]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "apiserver", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_its_kubeconfig_is_and_stops_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with start("--kubeconfig-out", str(tmp_path / "kc"), "--audit-log", str(tmp_path / "audit.log")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"kubeconfig: {tmp_path / 'kc'}\n"
        assert (tmp_path / "kc").stat().st_mode & 0o777 == 0o600
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--bind-address", "x"], "has no port"),
        (["--token-file", "/nowhere/tokens.csv"], "/nowhere/tokens.csv"),
        (["--audit-log", "/nowhere/audit.log"], "/nowhere/audit.log"),
        (["--insecure", "--bind-address", "0.0.0.0:0"], "loopback only"),
    ],
)
def test_errors_are_one_line_and_exit_2(arguments: list[str], says: str) -> None:
    process = start(*arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert says in err
    assert len([line for line in err.splitlines() if not line.startswith("WARNING")]) == 1


def test_version_and_help_load_no_server() -> None:
    code = (
        "import sys; from pyoperator.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not any(name.startswith('pyoperator.apiserver') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "apiserver" in done.stdout


@pytest.mark.parametrize("own", [{}, {"SSL_CERT_FILE": "/etc/ours.pem"}])
def test_the_start_reads_no_certificate_authorities_and_leaves_the_environment_as_it_was(own: dict[str, str]) -> None:
    program = f"""
import os, ssl
from pyoperator.cli._apiserver import _trusting_nobody
os.environ.pop("SSL_CERT_FILE", None)
os.environ.update({own!r})
before = dict(os.environ)
with _trusting_nobody(os.environ):
    print(len(ssl.create_default_context().get_ca_certs()), os.environ["SSL_CERT_FILE"] == os.devnull)
print(dict(os.environ) == before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", "True"]
