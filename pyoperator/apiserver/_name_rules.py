"""Which names, label keys and label values Kubernetes accepts, with the messages of ``apimachinery/pkg/util/validation``."""

from __future__ import annotations

import re

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_FORM = re.compile(_LABEL)
_SUBDOMAIN_FORM = re.compile(_SUBDOMAIN)
_LABEL_1035_FORM = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED_FORM = re.compile(_QUALIFIED)
_VALUE_FORM = re.compile(rf"({_QUALIFIED})?")


def _too_long(limit: int, unit: str = "characters") -> str:
    return f"must be no more than {limit} {unit}"


def subdomain_faults(value: str) -> list[str]:
    """Check a DNS subdomain name (RFC 1123), as most kinds' names are."""
    faults = []
    if len(value) > 253:
        faults.append(_too_long(253))
    if not _SUBDOMAIN_FORM.fullmatch(value):
        faults.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            f"start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
        )
    return faults


def label_faults(value: str) -> list[str]:
    """Check a DNS label (RFC 1123), as namespaces' names are."""
    faults = []
    if len(value) > 63:
        faults.append(_too_long(63))
    if not _LABEL_FORM.fullmatch(value):
        faults.append(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            f"end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
        )
    return faults


def label_1035_faults(value: str) -> list[str]:
    """Check a DNS label (RFC 1035): one that begins with a letter, as names inside a CRD do."""
    faults = []
    if len(value) > 63:
        faults.append(_too_long(63))
    if not _LABEL_1035_FORM.fullmatch(value):
        faults.append(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
            "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
            "is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    return faults


def path_segment_faults(value: str) -> list[str]:
    """Check a name that only has to fit into a path, as those of roles."""
    if value in {".", ".."}:
        return [f"may not be '{value}'"]
    return [f"may not contain '{bad}'" for bad in ("/", "%") if bad in value]


def qualified_name_faults(value: str) -> list[str]:
    """Check ``prefix/name``: keys of labels and annotations."""
    prefix, slash, name = value.rpartition("/")
    faults = []
    if slash:
        if not prefix:
            faults.append("prefix part must be non-empty")
        else:
            faults += [f"prefix part {fault}" for fault in subdomain_faults(prefix)]
    if value.count("/") > 1:
        return [
            "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            f"'{_QUALIFIED}') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append(f"name part {_too_long(63, 'bytes')}")
    if not _QUALIFIED_FORM.fullmatch(name):
        faults.append(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            f"'{_QUALIFIED}')"
        )
    return faults


def label_value_faults(value: str) -> list[str]:
    faults = []
    if len(value) > 63:
        faults.append(_too_long(63, "bytes"))
    if not _VALUE_FORM.fullmatch(value):
        faults.append(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
            "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
            f"validation is '({_QUALIFIED})?')"
        )
    return faults
