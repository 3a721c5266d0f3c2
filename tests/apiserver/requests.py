"""Short forms of core requests for the tests of the embedded server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver import APIRequest, APIResponse, APIServer, Credential, ServerOptions, User
from pyoperator.clock import Randomness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ADMIN = Credential(user=User("admin", groups=("system:masters",)))
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
PODS = "/api/v1/namespaces/default/pods"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class StoppedClock:
    """A clock that moves only when told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.now


class Asker:
    """Ask one server; answers come decoded."""

    def __init__(self, **options: Any) -> None:
        self.clock = StoppedClock()
        self.server = APIServer(clock=self.clock, random=Randomness(7), options=ServerOptions(**options))

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        credential: Credential = ADMIN,
    ) -> APIResponse:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        pairs = list(query.items()) if hasattr(query, "items") else list(query)
        return self.server.handle(
            APIRequest(method, path, pairs, {"content-type": "application/json", **(headers or {})}, data, credential)
        )

    def __call__(self, method: str, path: str, body: Any = None, *, status: int | None = None, **options: Any) -> Any:
        response = self.raw(method, path, body, **options)
        if status is not None:
            assert response.status == status, response.body
        return json.loads(response.body)


def config_map(name: str = "a", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"k": "v"}}


def lease(name: str = "l", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, **metadata},
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15},
    }


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def definition() -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
                    },
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "properties": {
                                        "size": {"type": "integer", "minimum": 1, "default": 2},
                                        "color": {"type": "string"},
                                    },
                                },
                                "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
                            },
                        }
                    },
                }
            ],
        },
    }


WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"


def widget(name: str = "w", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}
