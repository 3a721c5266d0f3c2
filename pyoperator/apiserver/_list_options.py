"""The query of a list or watch: selectors, versions, paging; checked as the real server checks them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pyoperator.apiserver import _status
from pyoperator.apiserver.storage import Selection, SelectorError, parse_field_selector, parse_label_selector
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver.registry import Kind

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False", ""})


@dataclass(frozen=True, slots=True)
class ListOptions:
    """``meta/v1 ListOptions``; versions as numbers, None when not given."""

    selection: Selection
    limit: int = 0
    continue_: str = ""
    version: int | None = None
    match: str = ""
    timeout: float | None = None
    bookmarks: bool = False
    send_initial_events: bool | None = None


def parse_flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "")
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise _status.bad_request(f'strconv.ParseBool: parsing "{value}": invalid syntax')


def parse_number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name, "")
    if not value:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise _status.bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    return int(value)


def parse_version(query: Mapping[str, str]) -> int | None:
    """Read ``resourceVersion``; what is none is, to the real server, a fault of its own: 500."""
    text = query.get("resourceVersion", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise _status.StatusError(500, "", message)
    return int(text)


def parse_list_options(kind: Kind, namespace: str, name: str, query: Mapping[str, str], *, watch: bool) -> ListOptions:
    """Read and check the options; ``name`` is that of a watch on one object by path. Raises 400 and 422."""
    try:
        labels = parse_label_selector(query.get("labelSelector", ""))
    except SelectorError as error:
        raise _status.bad_request(str(error)) from error
    text = query.get("fieldSelector", "")
    if name:
        text = f"{text},metadata.name={name}" if text else f"metadata.name={name}"
    try:
        fields = parse_field_selector(text)
    except SelectorError as error:
        raise _status.bad_request(str(error)) from error
    known = {"metadata.name", *(("metadata.namespace",) if kind.namespaced else ()), *kind.selectable_fields}
    for term in fields.terms:
        if term.field not in known:
            raise _status.bad_request(
                f"field label not supported: {term.field}"
                if kind.custom or kind.selectable_fields
                else f'"{term.field}" is not a known field selector: only "metadata.name", "metadata.namespace"'
            )
    try:
        version = parse_version(query)
    except _status.StatusError as error:
        if watch:
            raise
        raise _status.bad_request(f"invalid resource version: {error.message}") from error
    initial = query.get("sendInitialEvents", "")
    options = ListOptions(
        selection=Selection(namespace if kind.namespaced else "", labels, fields),
        limit=max(0, parse_number(query, "limit") or 0),
        continue_=query.get("continue", ""),
        version=version,
        match=query.get("resourceVersionMatch", ""),
        timeout=_timeout(query),
        bookmarks=parse_flag(query, "allowWatchBookmarks"),
        send_initial_events=parse_flag(query, "sendInitialEvents") if initial else None,
    )
    _check(options, watch=watch)
    return options


def _timeout(query: Mapping[str, str]) -> float | None:
    seconds = parse_number(query, "timeoutSeconds")
    return float(seconds) if seconds is not None and seconds > 0 else None


def _check(options: ListOptions, *, watch: bool) -> None:
    faults: list[FieldError] = []
    match = options.match
    if watch:
        if options.send_initial_events is not None:
            if match != "NotOlderThan":
                faults.append(
                    FieldError.forbidden(
                        "resourceVersionMatch",
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                    )
                )
        elif match:
            faults.append(
                FieldError.forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                )
            )
        if match not in {"", "NotOlderThan"}:
            faults.append(FieldError.not_supported("resourceVersionMatch", match, ("NotOlderThan",)))
        if options.continue_:
            faults.append(
                FieldError.forbidden(
                    "resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"
                )
            )
    else:
        if options.send_initial_events is not None:
            faults.append(FieldError.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        faults += _match_faults(options)
    if faults:
        raise _status.invalid("meta.k8s.io", "ListOptions", "", faults)


def _match_faults(options: ListOptions) -> list[FieldError]:
    match = options.match
    if not match:
        return []
    faults: list[FieldError] = []
    if options.version is None:
        faults.append(
            FieldError.forbidden(
                "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        )
    if options.continue_:
        faults.append(
            FieldError.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        )
    if match not in {"Exact", "NotOlderThan"}:
        faults.append(FieldError.not_supported("resourceVersionMatch", match, ("Exact", "NotOlderThan", "")))
    if match == "Exact" and options.version == 0:
        faults.append(
            FieldError.forbidden(
                "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            )
        )
    return faults


@dataclass(frozen=True, slots=True)
class ContinueToken:
    """Where the next page starts (the last key served) and at which version; -1 is "whatever is there now"."""

    version: int
    after: str

    def encode(self) -> str:
        document = {"v": "meta.k8s.io/v1", "rv": self.version, "start": self.after + "\0"}
        return base64.urlsafe_b64encode(msgspec.json.encode(document)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> ContinueToken:
        """Read a token; raises 400."""
        try:
            document = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            version, start = document["rv"], document["start"]
            if document["v"] != "meta.k8s.io/v1" or not isinstance(version, int) or not isinstance(start, str):
                raise ValueError("not a continue token of this server")
        except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise _status.bad_request(f"invalid continue token: continue key is not valid: {error}") from error
        return cls(version, start.removesuffix("\0"))
