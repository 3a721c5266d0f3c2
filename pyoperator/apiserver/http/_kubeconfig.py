"""Write a kubeconfig for the embedded server, never over one that somebody else wrote."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import msgspec

from pyoperator.apiserver.http._private_files import write_private

if TYPE_CHECKING:
    from pathlib import Path

# An extension, not a comment: ``kubectl config`` rewrites the file and keeps extensions only.
_MARK = "pyoperator-apiserver"


class KubeconfigError(RuntimeError):
    """The kubeconfig can't be written; the message says why and what to do."""


def write_kubeconfig(path: Path, *, server: str, token: str = "", authority: bytes = b"", user: str = "admin") -> None:
    """Write ``path`` (mode 0600, in one step) with one context of the name ``pyoperator``.

    Raises KubeconfigError if the file exists and was not written here, or can't be written.
    """
    check_kubeconfig(path)
    cluster = {"server": server}
    if authority:
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "extensions": [{"name": _MARK, "extension": {"processId": str(os.getpid())}}],
        "clusters": [{"name": "pyoperator", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token} if token else {}}],
        "contexts": [{"name": "pyoperator", "context": {"cluster": "pyoperator", "user": user}}],
        "current-context": "pyoperator",
    }
    # JSON is YAML, and the YAML library would be a tenth of the server's start.
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    try:
        write_private(path, text)
    except OSError as error:
        raise KubeconfigError(
            f"cannot write the kubeconfig {path}: {error.strerror or error}; choose another file with kubeconfig_out (--kubeconfig-out)"
        ) from error


def check_kubeconfig(path: Path) -> None:
    """Raise KubeconfigError if ``path`` exists and is not one of ours."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(
            f"{path} exists and cannot be read ({error}); choose another file with kubeconfig_out (--kubeconfig-out)"
        ) from error
    import yaml  # slow to import, and needed only here

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None
    extensions = (document.get("extensions") if isinstance(document, dict) else None) or ()
    if any(isinstance(entry, dict) and entry.get("name") == _MARK for entry in extensions):
        return
    raise KubeconfigError(
        f"{path} exists and was not written by pyoperator; it is left as it is: choose another file with "
        "kubeconfig_out (--kubeconfig-out), or remove it"
    )
