"""One Lease with versions and preconditions, as fast as a store for a hundred thousand histories must be."""

from __future__ import annotations

from typing import Any

import msgspec


class LeaseStore:
    """The Lease ``default/op``; every document it hands out is never changed afterwards."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self._version = 1000
        self._uid = 0

    def handle(self, method: str, body: bytes | None) -> tuple[int, bytes, dict[str, Any] | None]:
        """Carry out a request; return status, body, and the spec that was committed, if one was."""
        lease = self.lease
        if method == "GET":
            return (404, b"{}", None) if lease is None else (200, msgspec.json.encode(lease), None)
        document = msgspec.json.decode(body or b"")
        if method == "POST":
            if lease is not None:
                return 409, b"{}", None
            self._uid += 1
            document["metadata"]["uid"] = f"uid-{self._uid}"
        else:
            if lease is None:
                return 404, b"{}", None
            old, new = lease["metadata"], document["metadata"]
            if new.get("resourceVersion") != old["resourceVersion"] or new.get("uid") != old["uid"]:
                return 409, b"{}", None
        self._put(document)
        return 200, msgspec.json.encode(document), document["spec"]

    def edit(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Change the spec as an administrator would; a None removes the field."""
        lease = self._present()
        merged = {**lease["spec"], **changes}
        spec = {key: value for key, value in merged.items() if value is not None}
        self._put({**lease, "spec": spec})
        return spec

    def annotate(self, note: str) -> None:
        lease = self._present()
        self._put({**lease, "metadata": {**lease["metadata"], "annotations": {"note": note}}})

    def delete(self) -> dict[str, Any]:
        """Delete the Lease; return its last state, as a watch tells it."""
        lease, self.lease = self._present(), None
        self._version += 1
        return {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self._version)}}

    def summary(self) -> str:
        if self.lease is None:
            return "no Lease"
        spec = self.lease["spec"]
        return (
            f"v{self.lease['metadata']['resourceVersion']} holder={spec.get('holderIdentity')!r} "
            f"transitions={spec.get('leaseTransitions')} renewed={spec.get('renewTime')}"
        )

    def _present(self) -> dict[str, Any]:
        assert self.lease is not None
        return self.lease

    def _put(self, document: dict[str, Any]) -> None:
        self._version += 1
        document["metadata"] = {**document["metadata"], "resourceVersion": str(self._version)}
        self.lease = document
