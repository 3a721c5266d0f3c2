"""The Lease as an election sees it: six fields it means, and everything else it must leave alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.objects import format_micro_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.leaderelection._config import ElectionConfig

_CANONICAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", re.ASCII)


class LeaseDecodeError(ValueError):
    """The bytes are no Lease."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a holder claims; two writes of one process never have equal terms, because renewTime differs.

    Times are canonical RFC 3339 texts with microseconds, or "" where the Lease has none; ``duration`` in seconds.
    """

    holder: str
    duration: int
    acquired: str
    renewed: str
    transitions: int


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """One version of the Lease. ``document`` is the whole object as the server sent it, and is never modified."""

    terms: Terms
    uid: str = ""
    resource_version: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def holder(self) -> str:
        return self.terms.holder

    @property
    def duration(self) -> int:
        return self.terms.duration

    @property
    def transitions(self) -> int:
        return self.terms.transitions

    @property
    def version(self) -> int:
        """The resourceVersion as a number: for Leases the order of writes; -1 if the server's versions are not numbers."""
        return int(self.resource_version) if self.resource_version.isdecimal() else -1

    @classmethod
    def decode(cls, source: bytes | Mapping[str, Any]) -> LeaseRecord:
        """Read a Lease; absent fields are empty or 0, as client-go reads them (so a Lease with no duration is expired).

        Raises LeaseDecodeError when it is no object with metadata.
        """
        document: Any = source
        if isinstance(source, bytes):
            try:
                document = msgspec.json.decode(source)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise LeaseDecodeError(f"not JSON: {error}") from error
        metadata = document.get("metadata") if isinstance(document, dict) else None
        if not isinstance(metadata, dict):
            raise LeaseDecodeError("not a Kubernetes object: it has no metadata")
        spec = document.get("spec")
        spec = spec if isinstance(spec, dict) else {}
        terms = Terms(
            holder=_text(spec.get("holderIdentity")),
            duration=_number(spec.get("leaseDurationSeconds")),
            acquired=_instant(spec.get("acquireTime")),
            renewed=_instant(spec.get("renewTime")),
            transitions=_number(spec.get("leaseTransitions")),
        )
        return cls(terms, _text(metadata.get("uid")), _text(metadata.get("resourceVersion")), document)

    def encode_with(self, terms: Terms) -> bytes:
        """Return the bytes of a PUT that claims ``terms`` on exactly this version.

        Labels, annotations, preferredHolder, strategy and fields unknown to this library stay as they are; uid and
        resourceVersion stay in the body, so that a write on a replaced or changed Lease must fail.
        """
        spec = self.document.get("spec")
        document = dict(self.document)
        document["spec"] = {**(spec if isinstance(spec, dict) else {}), **_spec_of(terms)}
        return msgspec.json.encode(document)


def encode_new(config: ElectionConfig, terms: Terms) -> bytes:
    """Return the bytes of a POST that creates the Lease."""
    metadata: dict[str, Any] = {"name": config.name, "namespace": config.namespace}
    if config.labels:
        metadata["labels"] = dict(config.labels)
    return msgspec.json.encode(
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": _spec_of(terms)}
    )


def _spec_of(terms: Terms) -> dict[str, Any]:
    return {
        "holderIdentity": terms.holder,
        "leaseDurationSeconds": terms.duration,
        "acquireTime": terms.acquired,
        "renewTime": terms.renewed,
        "leaseTransitions": terms.transitions,
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _instant(value: object) -> str:
    """Bring a time to one form, because servers may write an instant in another one than they were sent."""
    text = _text(value)
    if not text or _CANONICAL.match(text):
        return text  # nearly always, and parsing costs more than all the rest of a Lease
    try:
        return format_micro_time(parse_time(text))
    except (ValueError, OverflowError, OSError):
        return text
