"""Answers that describe the server: version, health, discovery, OpenAPI."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from pyoperator._version import __version__
from pyoperator.apiserver._negotiation import encode, negotiate
from pyoperator.apiserver._request import APIResponse
from pyoperator.apiserver._status import PlainAnswer, method_not_allowed, unknown_resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyoperator.apiserver._request import APIRequest
    from pyoperator.apiserver.registry import Registry

KUBERNETES_VERSION = "v1.36.2"
_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
_TEXT = "text/plain; charset=utf-8"


class Documents:
    """Serve the paths that are no resources."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def answer(self, request: APIRequest, query: Mapping[str, str]) -> APIResponse:
        """Answer a GET or HEAD; raises PlainAnswer for paths that do not exist."""
        path = request.path.rstrip("/") or "/"
        if request.method not in {"GET", "HEAD"}:
            raise method_not_allowed()
        accept = request.headers.get("accept", "")
        if path == "/version":
            return APIResponse(200, encode(_version(), negotiate(accept)), {"content-type": "application/json"})
        if path in _HEALTH:
            return _health(path, "verbose" in query)
        base, _, check = path.rpartition("/")
        if base in _HEALTH and check == "ping":
            return APIResponse(200, b"ok", {"content-type": _TEXT})
        if path == "/":
            return self._index(accept)
        discovered = self._registry.discovery(path, accept, request.query)
        if discovered is not None:
            content_type, document = discovered
            # Aggregated discovery names its form in parameters; yaml is asked for without any.
            if ";" not in content_type:
                wanted = negotiate(accept)
                return APIResponse(200, encode(document, wanted), {"content-type": wanted.media_type})
            return APIResponse(200, encode(document, negotiate("")), {"content-type": content_type, "vary": "Accept"})
        described = self._registry.openapi(path, accept, request.query)
        if described is not None:
            status, content_type, body, headers = described
            return APIResponse(status, body, {**headers, "content-type": content_type})
        if path.startswith("/api/"):
            raise unknown_resource()
        raise PlainAnswer.page_not_found()

    def _index(self, accept: str) -> APIResponse:
        groups = sorted({(kind.gvk.group, kind.gvk.version) for kind in self._registry.kinds() if kind.gvk.group})
        paths = ["/api", "/api/v1", "/apis"]
        for group, version in groups:
            if f"/apis/{group}" not in paths:
                paths.append(f"/apis/{group}")
            paths.append(f"/apis/{group}/{version}")
        paths += ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
        wanted = negotiate(accept)
        return APIResponse(200, encode({"paths": paths}, wanted), {"content-type": wanted.media_type})


def _version() -> dict[str, str]:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{KUBERNETES_VERSION}+pyoperator",
        "gitCommit": __version__,
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"{platform.python_implementation().lower()}{platform.python_version()}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"{platform.system().lower()}/{platform.machine().lower()}",
    }


def _health(path: str, verbose: bool) -> APIResponse:
    name = path.removeprefix("/")
    text = f"[+]ping ok\n[+]storage ok\n{name} check passed\n" if verbose else "ok"
    return APIResponse(200, text.encode(), {"content-type": _TEXT, "x-content-type-options": "nosniff"})
