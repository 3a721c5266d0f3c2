"""Log output for binaries: structlog to standard error, for people or for machines.

The library itself logs through structlog and configures nothing; a program that has its own configuration does not
call this.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import structlog

from pyoperator.manager._errors import ManagerError

if TYPE_CHECKING:
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat: TypeAlias = Literal["auto", "console", "json"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SECRET_KEYS = frozenset({"token", "password", "authorization", "client_key", "secret", "data", "string_data"})


def configure_logging(level: str = "info", format: LogFormat = "auto", *, stream: TextIO | None = None) -> None:
    """Configure structlog and the standard library's logging of this process.

    ``level``: debug, info, warning or error. ``format``: console for people, json (one object per line) for machines,
    auto decides by whether ``stream`` (default: standard error) is a terminal. Values under names such as token and
    password, and Secret objects, are never written. Raises ManagerError for another level or format.
    """
    number = _LEVELS.get(level.lower())
    if number is None:
        raise ManagerError(f"log level {level!r} is unknown: use one of {', '.join(_LEVELS)}")
    output = sys.stderr if stream is None else stream
    if format not in {"auto", "console", "json"}:
        raise ManagerError(f"log format {format!r} is unknown: use console, json or auto")
    machine = format == "json" or (format == "auto" and not output.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
        if machine
        else [
            structlog.dev.ConsoleRenderer(
                colors=output.isatty(),
                # The default draws local variables into tracebacks, and those may hold secrets.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )
    structlog.configure(
        processors=[_add_logger_name, *shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_LoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Other libraries' debug output is not ours to drown in.
    root.setLevel(max(number, logging.INFO))


class _LoggerFactory:
    """Make loggers that write lines to one stream and remember the name that ``get_logger`` was given."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def __call__(self, *args: Any) -> WrappedLogger:
        return _Logger(self._output, str(args[0]) if args else "")


class _Logger(structlog.WriteLogger):
    def __init__(self, output: TextIO, name: str) -> None:
        super().__init__(output)
        self.name = name


def _add_logger_name(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if name := getattr(logger, "name", ""):
        event.setdefault("logger", name)
    return event


def _redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep out what must never be logged, even if somebody binds it by mistake."""
    for key, value in event.items():
        if key.lower() in _SECRET_KEYS and value is not None:
            event[key] = "<redacted>"
        elif isinstance(value, dict) and value.get("kind") == "Secret":
            metadata = value.get("metadata") or {}
            event[key] = f"<Secret {metadata.get('namespace', '')}/{metadata.get('name', '')}>"
    return event
