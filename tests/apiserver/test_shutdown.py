"""What is asked of a server that has been closed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pyoperator.apiserver import AuditLog
from pyoperator.apiserver.storage import SQLitePersistence
from tests.apiserver.requests import CONFIG_MAPS, Asker

if TYPE_CHECKING:
    from pathlib import Path


def test_a_closed_server_refuses_in_words_that_allow_another_try(tmp_path: Path) -> None:
    """A connection may come up after the face has closed the others; its request finds no database any more."""
    audit = AuditLog()
    ask = Asker(persistence=SQLitePersistence(tmp_path), audit=audit)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    ask("POST", CONFIG_MAPS, body, status=201)
    ask.server.close()
    noted = len(list(audit.events()))
    for method in ("GET", "POST"):
        answer = ask.raw(method, CONFIG_MAPS, json.dumps(body).encode() if method == "POST" else b"")
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert json.loads(answer.body)["message"] == "the server is shutting down"
    assert len(list(audit.events())) == noted
