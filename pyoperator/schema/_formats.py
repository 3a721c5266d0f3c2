"""The string formats that the API server checks; any other format is a remark and is not checked."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_DATE_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d|60)(\.\d+)?([Zz]|[+-]\d\d:?\d\d)")
_GO_DURATION = re.compile(r"[-+]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+|0")
_WORD_DURATION = re.compile(
    r"(\d+\s*(ns|nano|nanos|nanosecond|nanoseconds|us|µs|micro|micros|microsecond|microseconds|ms|milli|millis|"
    r"millisecond|milliseconds|s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hrs|hour|hours|d|day|days|"
    r"w|wk|wks|week|weeks)\s*)+"
)
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_URI = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:[^\s]*|/[^\s]*)")
_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_HOSTNAME = re.compile(r"(?=.{1,255}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
_MAC = re.compile(r"([0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(\2[0-9A-Fa-f]{2}){4}|([0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4})")
_HEX_COLOR = re.compile(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


def _is_date(text: str) -> bool:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text) is None:
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_date_time(text: str) -> bool:
    match = _DATE_TIME.fullmatch(text)
    return match is not None and _is_date(match[1]) and int(match[2]) < 24 and int(match[3]) < 60


def _is_duration(text: str) -> bool:
    return _GO_DURATION.fullmatch(text) is not None or _WORD_DURATION.fullmatch(text.lower()) is not None


def _accepts(build: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            build(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _network(text: str) -> object:
    if "/" not in text:
        raise ValueError(f"{text!r} has no prefix length")
    return ipaddress.ip_interface(text)


FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _is_date_time,
    "datetime": _is_date_time,
    "date": _is_date,
    "duration": _is_duration,
    "uuid": _matches(_UUID),
    "ipv4": _accepts(ipaddress.IPv4Address),
    "ipv6": _accepts(ipaddress.IPv6Address),
    "cidr": _accepts(_network),
    "byte": _accepts(lambda text: base64.b64decode(text, validate=True)),
    "uri": _matches(_URI),
    "email": _matches(_EMAIL),
    "hostname": _matches(_HOSTNAME),
    "mac": _matches(_MAC),
    "hexcolor": _matches(_HEX_COLOR),
}

# Formats that mean something to the server, or to readers of a schema, without being checked here.
KNOWN_FORMATS = frozenset(
    {*FORMATS, "int32", "int64", "float", "double", "password", "bsonobjectid", "uuid3", "uuid4", "uuid5", "isbn",
     "isbn10", "isbn13", "creditcard", "ssn", "rgbcolor"}
)  # fmt: skip
