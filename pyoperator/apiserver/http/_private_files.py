"""Files that hold secrets: readable by their owner only, and never seen half written."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Replace ``path`` in one step by a file of mode 0600; its folder must exist. Raises OSError.

    The disk is not waited for, which would be felt at each start: what a loss of power takes is made anew.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_private_folder(path: Path) -> None:
    """Create a folder of mode 0700 with its parents; one that exists keeps its mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
