"""Continue tokens: where the next page of a list starts, and at which version."""

from __future__ import annotations

import base64
import string
from dataclasses import dataclass
from typing import Any

import msgspec

from pyoperator.apiserver import _status

_ENCODING = "meta.k8s.io/v1"
_ALPHABET = frozenset(string.ascii_letters + string.digits + "-_")
_GO_KINDS = {str: "string", int: "number", float: "number", bool: "bool", list: "array", dict: "object"}
# What JSON may begin with, white space aside.
_BEGINNINGS = frozenset('{["-0123456789tfn')


@dataclass(frozen=True, slots=True)
class ContinueToken:
    """``after`` is the last key served, in the form of the store; a version below 0 is "whatever is there now".

    Encoded as the real server does it: the key is relative to what is listed, and ends in a zero byte: the next key
    there could be.
    """

    version: int
    after: str

    def encode(self, namespace: str) -> str:
        start = self.after.removeprefix(namespace) if namespace else self.after
        return _written(self.version, f"{start}\0")

    def without_version(self, namespace: str) -> str:
        """Return the token that a refused one is answered with: on from the same key, in the present state."""
        start = self.after.removeprefix(f"{namespace}/") if namespace else self.after
        return _written(-1, f"{start}\0")

    @classmethod
    def parse(cls, text: str, namespace: str) -> ContinueToken:
        """Read a token of a list of one namespace, or of all (""); raises 400."""
        document = _document(text)
        version, start = document.get("rv") or 0, document.get("start") or ""
        if document.get("v") != _ENCODING:
            raise _invalid(f"server does not recognize this encoded version {document.get('v', '')}")
        if version == 0:
            raise _invalid(f"incorrect encoded start resourceVersion (version {_ENCODING})")
        if not start:
            raise _invalid(f"encoded start key empty (version {_ENCODING})")
        key = start.removeprefix("/")
        if any(part in {"", ".", ".."} for part in key.removesuffix("\0").split("/")):
            raise _invalid(start)
        key = key.removesuffix("\0")
        return cls(version, f"{namespace}/{key}" if namespace else key)


def _written(version: int, start: str) -> str:
    document = {"v": _ENCODING, "rv": version, "start": start}
    return base64.urlsafe_b64encode(msgspec.json.encode(document)).decode().rstrip("=")


def _document(text: str) -> dict[str, Any]:
    wrong = next((index for index, character in enumerate(text) if character not in _ALPHABET), None)
    if wrong is not None or len(text) % 4 == 1:
        raise _invalid(f"illegal base64 data at input byte {len(text) - 1 if wrong is None else wrong}")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    first = data.lstrip(b" \t\r\n")[:1].decode("latin-1")
    if first and first not in _BEGINNINGS:
        shown = first if first.isprintable() else f"\\u{ord(first):04x}"
        raise _invalid(f"invalid character '{shown}' looking for beginning of value")
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid("unexpected end of JSON input" if "truncated" in str(error) else str(error)) from error
    if not isinstance(document, dict):
        what = _GO_KINDS.get(type(document), "null")
        raise _invalid(f"json: cannot unmarshal {what} into Go value of type storage.continueToken")
    for field, wanted, named in (("v", str, "string"), ("rv", int, "int64"), ("start", str, "string")):
        value = document.get(field)
        if value is not None and type(value) is not wanted:
            what = _GO_KINDS[type(value)]
            raise _invalid(f"json: cannot unmarshal {what} into Go struct field continueToken.{field} of type {named}")
    return document


def _invalid(why: str) -> _status.StatusError:
    return _status.bad_request(f"invalid continue token: continue key is not valid: {why}")
