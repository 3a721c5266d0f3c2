"""Endpoints and EndpointSlices: which pods a service reaches now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver.controllers._engine import Controller
from pyoperator.apiserver.controllers._kinds import ENDPOINT_SLICE, ENDPOINTS, POD, SERVICE
from pyoperator.apiserver.controllers._object import Object, copied
from pyoperator.apiserver.controllers._workloads import (
    is_finished,
    is_ready,
    is_terminating,
    owner_reference,
    random_suffix,
)

if TYPE_CHECKING:
    from pyoperator.apiserver.controllers._client import StoreEvent

_SERVICE_NAME = "kubernetes.io/service-name"
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_MANAGER = "endpointslice-controller.k8s.io"


class EndpointsController(Controller):
    """Keep the two lists of addresses of each service with a selector. A key is (namespace, name)."""

    name = "endpoints-simulator"

    def begin(self) -> None:
        for service in self.view.all(SERVICE):
            self.enqueue((service["metadata"]["namespace"], service["metadata"]["name"]))

    def observe(self, event: StoreEvent) -> None:
        if event.gvk == SERVICE:
            self.enqueue((event.namespace, event.name))
        elif event.gvk == POD:
            for pod in (event.old, event.new):
                labels = (pod["metadata"].get("labels") or {}) if pod is not None else {}
                for service in self.view.selecting(SERVICE, event.namespace, labels):
                    if service["spec"]["selector"].items() <= labels.items():
                        self.enqueue((event.namespace, service["metadata"]["name"]))
        elif event.gvk == ENDPOINTS:
            self.enqueue((event.namespace, event.name))
        elif event.gvk == ENDPOINT_SLICE:
            owner = ((event.new or event.old or {}).get("metadata") or {}).get("labels", {}).get(_SERVICE_NAME)
            if owner:
                self.enqueue((event.namespace, owner))

    def sync(self, key: tuple[str, str]) -> float | None:
        service = self.view.get(SERVICE, *key)
        if service is None:
            endpoints = self.view.get(ENDPOINTS, *key)
            if endpoints is not None and not is_terminating(endpoints):
                self.client.delete(ENDPOINTS, *key, uid=endpoints["metadata"]["uid"])
            return None
        spec = service.get("spec") or {}
        if is_terminating(service) or not spec.get("selector") or spec.get("type") == "ExternalName":
            return None
        pods = sorted(
            (
                pod
                for pod in self.view.pods(key[0], spec["selector"])
                if (pod.get("status") or {}).get("podIP") and not is_finished(pod)
            ),
            key=lambda pod: str(pod["metadata"]["name"]),
        )
        self._write_endpoints(key, service, pods)
        self._write_slice(key, service, pods)
        return None

    def _write_endpoints(self, key: tuple[str, str], service: Object, pods: list[Object]) -> None:
        publish = bool(service["spec"].get("publishNotReadyAddresses"))
        by_ports: dict[str, tuple[list[Object], list[Object], list[Object]]] = {}
        for pod in pods:
            if is_terminating(pod) and not publish:
                continue
            ports = _ports(service, pod)
            ready, not_ready, _ = by_ports.setdefault(repr(ports), ([], [], ports))
            (ready if publish or is_ready(pod) else not_ready).append(_address(service, pod))
        subsets = []
        for ready, not_ready, ports in by_ports.values():
            subset: Object = {}
            if ready:
                subset["addresses"] = ready
            if not_ready:
                subset["notReadyAddresses"] = not_ready
            if ports:
                subset["ports"] = ports
            subsets.append(subset)
        current = self.view.get(ENDPOINTS, *key)
        if current is None:
            made: Object = {
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {
                    "namespace": key[0],
                    "name": key[1],
                    "labels": {
                        **(service["metadata"].get("labels") or {}),
                        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
                    },
                },
            }
            if subsets:
                made["subsets"] = subsets
            self.client.create(made)
        elif (current.get("subsets") or []) != subsets:
            changed = copied(current)
            changed.pop("subsets", None)
            if subsets:
                changed["subsets"] = subsets
            self.client.update(changed)

    def _write_slice(self, key: tuple[str, str], service: Object, pods: list[Object]) -> None:
        publish = bool(service["spec"].get("publishNotReadyAddresses"))
        endpoints = []
        for pod in pods:
            ready, ending = is_ready(pod), is_terminating(pod)
            endpoint: Object = {
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": publish or (ready and not ending), "serving": ready, "terminating": ending},
                "nodeName": pod["spec"]["nodeName"],
                "targetRef": _target(pod),
            }
            if _has_name(service, pod):
                endpoint["hostname"] = pod["spec"]["hostname"]
            endpoints.append(endpoint)
        ports = _ports(service, pods[0]) if pods else []
        current = next(
            (
                found
                for found in self.view.owned(ENDPOINT_SLICE, service)
                if (found["metadata"].get("labels") or {}).get(_MANAGED_BY) == _MANAGER and not is_terminating(found)
            ),
            None,
        )
        if current is None:
            self.client.create(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "namespace": key[0],
                        "name": f"{key[1]}-{random_suffix(self.context.random)}",
                        "generateName": f"{key[1]}-",
                        "labels": {
                            **(service["metadata"].get("labels") or {}),
                            _SERVICE_NAME: key[1],
                            _MANAGED_BY: _MANAGER,
                        },
                        "ownerReferences": [owner_reference(service)],
                    },
                    "addressType": "IPv4",
                    "endpoints": endpoints,
                    "ports": ports,
                }
            )
        elif (current.get("endpoints") or []) != endpoints or (current.get("ports") or []) != ports:
            self.client.update({**copied(current), "endpoints": endpoints, "ports": ports})


def _ports(service: Object, pod: Object) -> list[Object]:
    ports: list[Object] = []
    for port in service["spec"].get("ports") or ():
        number = _target_port(port, pod)
        if number is None:
            continue
        entry: Object = {"port": number, "protocol": port.get("protocol", "TCP")}
        ports.append({"name": port.get("name", ""), **entry} if port.get("name") else entry)
    return ports


def _target_port(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target or int(port["port"])
    for container in pod["spec"].get("containers") or ():
        for named in container.get("ports") or ():
            if named.get("name") == target:
                return int(named["containerPort"])
    return None


def _address(service: Object, pod: Object) -> Object:
    address: Object = {
        "ip": pod["status"]["podIP"],
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": _target(pod),
    }
    if _has_name(service, pod):
        address["hostname"] = pod["spec"]["hostname"]
    return address


def _has_name(service: Object, pod: Object) -> bool:
    return bool(pod["spec"].get("hostname")) and pod["spec"].get("subdomain") == service["metadata"]["name"]


def _target(pod: Object) -> Object:
    metadata = pod["metadata"]
    return {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
