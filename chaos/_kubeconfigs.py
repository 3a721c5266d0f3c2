"""A kubeconfig for one process: its own credential, and perhaps a link instead of the server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from chaos._links import Link


def write_kubeconfig(path: Path, like: Path, token: str, link: Link | None) -> Path:
    """Write what ``like`` says, with ``token`` for its user and, if given, ``link`` for its server; return ``path``."""
    document = yaml.safe_load(like.read_text("utf-8"))
    document["users"] = [{"name": entry["name"], "user": {"token": token}} for entry in document["users"]]
    if link is not None:
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{link.port}"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path
