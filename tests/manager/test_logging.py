from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from pyoperator.manager import ManagerError, configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_is_one_object_per_line() -> None:
    out = io.StringIO()
    configure_logging("info", "json", stream=out)
    log = structlog.get_logger("pyoperator.controller").bind(controller="postgres", reconcileID="1")
    log.debug("hidden")
    with structlog.contextvars.bound_contextvars(namespace="default"):
        log.info("reconciled", name="db")
    logging.getLogger("aiohttp").warning("from %s", "elsewhere")
    first, second = [json.loads(line) for line in out.getvalue().splitlines()]
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "reconciled",
        "level": "info",
        "logger": "pyoperator.controller",
        "controller": "postgres",
        "reconcileID": "1",
        "namespace": "default",
        "name": "db",
    }
    assert (second["event"], second["logger"], second["level"]) == ("from elsewhere", "aiohttp", "warning")


@pytest.mark.parametrize("format", ["console", "json"])
def test_secrets_are_never_written(format: str) -> None:
    out = io.StringIO()
    configure_logging("debug", format, stream=out)  # type: ignore[arg-type]
    secret = {"kind": "Secret", "metadata": {"namespace": "a", "name": "b"}, "data": {"password": "aHVudGVyMg=="}}
    structlog.get_logger().info("x", token="hunter2", Password="hunter2", object=secret, data={"k": "hunter2"})
    assert "hunter2" not in out.getvalue()
    assert "aHVudGVyMg" not in out.getvalue()
    assert "<Secret a/b>" in out.getvalue()


def test_auto_is_json_where_nobody_looks_and_errors_have_their_traceback() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    try:
        raise KeyError("gone")
    except KeyError as error:
        structlog.get_logger().error("failed", exc_info=error)
    assert "KeyError: 'gone'" in json.loads(out.getvalue())["exception"]


def test_wrong_words_teach() -> None:
    with pytest.raises(ManagerError, match="debug, info, warning, error"):
        configure_logging("loud")
    with pytest.raises(ManagerError, match="console, json or auto"):
        configure_logging("info", "xml")  # type: ignore[arg-type]
