"""The query of a list or watch: selectors, versions, paging; checked as the real server checks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyoperator.apiserver import _status
from pyoperator.apiserver.storage import Selection, SelectorError, parse_field_selector, parse_label_selector
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver.registry import Kind

_OFF = frozenset({"0", "false"})
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True)
class ListOptions:
    """``meta/v1 ListOptions``; versions as numbers, None when not given; ``timeout`` 0 is none, below 0 is over."""

    selection: Selection
    limit: int = 0
    continue_: str = ""
    version: int | None = None
    match: str = ""
    timeout: float = 0.0
    bookmarks: bool = False
    send_initial_events: bool | None = None


def parse_flag(query: Mapping[str, str], name: str) -> bool:
    """Read a flag as the real server does: it stands unless it says ``0`` or ``false``, with any other value or none."""
    return name in query and query[name].casefold() not in _OFF


def parse_number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name, "")
    if not value:
        return None
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise _status.bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    if len(digits) > 19 or not -_INT64 <= int(value) < _INT64:
        raise _status.bad_request(f'strconv.ParseInt: parsing "{value}": value out of range')
    return int(value)


def parse_version(query: Mapping[str, str]) -> int | None:
    """Read ``resourceVersion``; what is none is, to the real server, a fault of its own: 500."""
    text = query.get("resourceVersion", "")
    if not text:
        return None
    fault = ""
    if not (text.isascii() and text.isdigit()):
        fault = "invalid syntax"
    elif len(text) > 20 or int(text) >= 2 * _INT64:
        fault = "value out of range"
    if fault:
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {fault}'
        raise _status.StatusError(500, "", message)
    return int(text)


def parse_list_options(
    kind: Kind, namespace: str, name: str, query: Mapping[str, str], *, watch: bool, watch_list: bool = True
) -> ListOptions:
    """Read and check the options; ``name`` is that of a watch on one object by path. Raises 400 and 422.

    ``watch_list``: whether the server streams initial events.
    """
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
    options = ListOptions(
        selection=Selection(namespace if kind.namespaced else "", labels, fields),
        limit=max(0, parse_number(query, "limit") or 0),
        continue_=query.get("continue", ""),
        version=version,
        match=query.get("resourceVersionMatch", ""),
        timeout=float(parse_number(query, "timeoutSeconds") or 0),
        bookmarks=parse_flag(query, "allowWatchBookmarks"),
        send_initial_events=parse_flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    _check(options, watch=watch, watch_list=watch_list)
    return options


def _check(options: ListOptions, *, watch: bool, watch_list: bool) -> None:
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
            if not watch_list:
                faults.append(
                    FieldError.forbidden(
                        "sendInitialEvents",
                        "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
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
