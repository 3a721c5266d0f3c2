"""Checks that several kinds share: ranges, options, percentages, selectors, ports' names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver._name_rules import label_faults, label_value_faults, qualified_name_faults
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.apiserver.registry._kind import Object

_PERCENT = re.compile(r"[0-9]+%")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
IMMUTABLE = "field is immutable"


def non_negative(obj: Object, field: str, *names: str) -> Iterator[FieldError]:
    """Check numbers directly in ``obj`` (which stands at ``field``)."""
    for name in names:
        value = obj.get(name)
        if isinstance(value, int) and value < 0:
            yield FieldError.invalid(f"{field}.{name}", value, "must be greater than or equal to 0")


def one_of(obj: Object, field: str, name: str, options: tuple[str, ...]) -> Iterator[FieldError]:
    """Check that a text, where set, is one of the options."""
    value = obj.get(name)
    if value is not None and value not in options:
        yield FieldError.not_supported(f"{field}.{name}" if field else name, value, options)


def port_number(value: Any, field: str) -> Iterator[FieldError]:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        yield FieldError.invalid(field, value, "must be between 1 and 65535, inclusive")


def port_name(value: str, field: str) -> Iterator[FieldError]:
    """Check a port's name (IANA service name)."""
    if len(value) > 15:
        yield FieldError.invalid(field, value, "must be no more than 15 characters")
    if re.fullmatch(r"[-a-z0-9]*", value) is None:
        yield FieldError.invalid(field, value, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if re.search("[a-z]", value) is None:
        yield FieldError.invalid(field, value, "must contain at least one letter (a-z)")
    if "--" in value:
        yield FieldError.invalid(field, value, "must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        yield FieldError.invalid(field, value, "must not begin or end with a hyphen")


def port_reference(value: Any, field: str) -> Iterator[FieldError]:
    """Check a number or name of a port."""
    yield from port_name(value, field) if isinstance(value, str) else port_number(value, field)


def count_or_percent(value: Any, field: str) -> Iterator[FieldError]:
    """Check a number of things or a percentage of them."""
    if isinstance(value, str):
        if _PERCENT.fullmatch(value) is None:
            detail = (
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                "regex used for validation is '[0-9]+%')"
            )
            yield FieldError.invalid(field, value, detail)
        elif int(value[:-1]) > 100:
            yield FieldError.invalid(field, value, "must not be greater than 100%")
    elif value < 0:
        yield FieldError.invalid(field, value, "must be greater than or equal to 0")


def config_keys(data: Object, field: str) -> Iterator[FieldError]:
    """Check the keys of a ConfigMap's or Secret's data."""
    for key in data:
        if _CONFIG_KEY.fullmatch(key) is None:
            detail = (
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
            )
            yield FieldError.invalid(f"{field}[{key}]", key, detail)
        elif key in (".", ".."):
            yield FieldError.invalid(f"{field}[{key}]", key, f"must not be '{key}'")
        elif len(key) > 253:
            yield FieldError.invalid(f"{field}[{key}]", key, "must be no more than 253 characters")


def label_map(labels: dict[str, str], field: str) -> Iterator[FieldError]:
    """Check a map of labels that is not in metadata."""
    for key, value in labels.items():
        for fault in qualified_name_faults(key):
            yield FieldError.invalid(field, key, fault)
        for fault in label_value_faults(value):
            yield FieldError.invalid(field, value, fault)


def label_selector(selector: Object, field: str) -> Iterator[FieldError]:
    """Check matchLabels and matchExpressions."""
    yield from label_map(selector.get("matchLabels") or {}, f"{field}.matchLabels")
    for index, rule in enumerate(selector.get("matchExpressions") or ()):
        where = f"{field}.matchExpressions[{index}]"
        operator = rule.get("operator", "")
        if operator in ("In", "NotIn"):
            if not rule.get("values"):
                yield FieldError.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if rule.get("values"):
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                yield FieldError.forbidden(f"{where}.values", detail)
        else:
            yield FieldError.invalid(f"{where}.operator", operator, "not a valid selector operator")
        for fault in qualified_name_faults(rule.get("key", "")):
            yield FieldError.invalid(f"{where}.key", rule.get("key", ""), fault)


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Tell whether a label selector matches; an empty one matches everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or ():
        present, value = rule.get("key") in labels, labels.get(rule.get("key", ""))
        values = rule.get("values") or ()
        passed = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": present,
            "DoesNotExist": not present,
        }.get(rule.get("operator", ""), False)
        if not passed:
            return False
    return True


def label_name(value: str, field: str) -> Iterator[FieldError]:
    """Check a DNS label."""
    for fault in label_faults(value):
        yield FieldError.invalid(field, value, fault)


def unchanged(new: Object, old: Object | None, *names: str) -> Iterator[FieldError]:
    """Check top-level fields that may not change."""
    for name in names:
        if old is not None and new.get(name) != old.get(name):
            yield FieldError.invalid(name, new.get(name), IMMUTABLE)
