"""Take out of an answer what differs from run to run: versions, uids, times, addresses, random names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.conformance.scenario import Answer

_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_VERSION = re.compile(r"(?i)(resource ?version[^\d]{0,60}?)\d+")
_TOO_OLD = re.compile(r"(too old resource version: )[^)]*\)")
_FUTURE = re.compile(r"(Too large resource version: \d+, current: )\d+")
_OBJECT = re.compile(r'Invalid value: "\{.*\}": ')
_PORT = re.compile(r"^127\.0\.0\.1(:\d+)?$")
_YAML = "application/yaml"
_ADDRESS = re.compile(r"^10\.\d+\.\d+\.\d+$")
_AGE = re.compile(r"^(\d+s|<unknown>|<invalid>)$")
_JSON = "application/json"
_SHOWN = 5000


class Normaliser:
    """Normalise the answers of one scenario, whose namespace has a name of its own in each run."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def answer(self, answer: Answer, *, served_only: bool = False) -> dict[str, Any]:
        """Return status, type, warnings and body; ``served_only``: discovery, to be compared entry by entry."""
        result: dict[str, Any] = {"status": answer.status}
        if answer.content_type != _JSON:
            result["type"] = answer.content_type
        if answer.warnings:
            result["warnings"] = [self._text(warning) for warning in answer.warnings]
        text = answer.body.decode("utf-8", "replace")
        try:
            if answer.content_type.startswith(_JSON):
                result["body"] = self._value(json.loads(text)) if text else ""
            elif answer.content_type == _YAML:
                result["body"] = self._value(yaml.load(text, Loader=yaml.BaseLoader))  # texts only
            else:
                result["text"] = self._text(text)
        except ValueError:  # a watch: one document per line
            result["events"] = [self._value(json.loads(line)) for line in text.splitlines() if line]
        body = result.get("body")
        if isinstance(body, dict) and set(body) == {"type", "object"}:
            result["events"] = [result.pop("body")]
        if served_only:
            result["served_only"] = True
        return result

    def _text(self, text: str) -> str:
        text = _TIME.sub("<time>", _UID.sub("<uid>", text.replace(self._namespace, "{ns}")))
        text = _FUTURE.sub(r"\1<version>", _TOO_OLD.sub(r"\1<versions>)", text))
        # Whole objects, with their managed fields, in the words about a patch.
        text = _OBJECT.sub('Invalid value: "<object>": ', _VERSION.sub(r"\1<version>", text))
        return text if len(text) < _SHOWN else f"{text[:100]}... {len(text)} characters"

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return "<address>" if _ADDRESS.match(value) or _PORT.match(value) else self._text(value)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if not isinstance(value, dict):
            return value
        result = {self._text(key): self._value(item) for key, item in value.items() if key != "managedFields"}
        for name, mark in (("resourceVersion", "<version>"), ("uid", "<uid>"), ("continue", "<token>")):
            if isinstance(result.get(name), str) and result[name] not in {"", "0"}:
                result[name] = mark
        if isinstance(result.get("nodePort"), int):
            result["nodePort"] = "<port>"
        result.pop("storageVersionHash", None)
        prefix = result.get("generateName")
        if prefix and str(result.get("name", "")).startswith(prefix):
            result["name"] = f"{prefix}<random>"
        if result.get("kind") == "Table":
            for column in result.get("columnDefinitions") or ():
                column.pop("description", None)  # prose
            for row in result.get("rows") or ():
                row["cells"] = ["<age>" if isinstance(c, str) and _AGE.match(c) else c for c in row["cells"]]
        if isinstance(result.get("causes"), list):
            # Go's maps have no order, and the messages of several faults follow theirs.
            result["causes"].sort(key=lambda cause: json.dumps(cause, sort_keys=True))
        causes = (result.get("details") or {}).get("causes") if isinstance(result.get("details"), dict) else None
        if causes and len(causes) > 1 and " is invalid: [" in result.get("message", ""):
            result["message"] = result["message"].partition(" is invalid: [")[0] + " is invalid: [<causes>]"
        return result


def comparable(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[Any, Any]:
    """Return both, ready for ``==``: of a discovery document only the entries that the embedded server has."""
    if not theirs.get("served_only"):
        return ours, theirs
    entries = ("resources", "groups", "versions")
    for name in entries:
        if name in theirs.get("body", {}) and name in ours.get("body", {}):
            names = {json.dumps(_identity(entry)) for entry in ours["body"][name]}
            kept = [entry for entry in theirs["body"][name] if json.dumps(_identity(entry)) in names]
            theirs = {**theirs, "body": {**theirs["body"], name: sorted(kept, key=_order)}}
            ours = {**ours, "body": {**ours["body"], name: sorted(ours["body"][name], key=_order)}}
    return ours, theirs


def _order(entry: dict[str, Any]) -> str:
    return json.dumps(entry, sort_keys=True)


def _identity(entry: dict[str, Any]) -> Any:
    return entry.get("name") or entry.get("resource") or entry.get("groupVersion") or entry.get("version")
