"""Where the Pythons of this machine are."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")  # oldest first, as pyproject.toml's classifiers name them


def interpreter(version: str) -> Path | None:
    """Find ``python<version>`` (3.13) on PATH or among pyenv's; None if there is none that starts."""
    candidates = [Path(found)] if (found := shutil.which(f"python{version}")) else []
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates += [folder / "bin" / f"python{version}" for folder in sorted(pyenv.glob(f"{version}*"), reverse=True)]
    for candidate in candidates:
        # A pyenv shim exists for versions that are not active, and fails.
        if (
            candidate.exists()
            and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return candidate
    return None
