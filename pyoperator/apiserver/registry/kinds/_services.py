"""Services and what stands behind them: addresses, ports, Endpoints, EndpointSlices."""

from __future__ import annotations

import ipaddress
import zlib
from typing import TYPE_CHECKING, Any

from pyoperator.apiserver.registry.kinds._fields import label_map, label_name, one_of, port_number, port_reference
from pyoperator.apiserver.registry.kinds._rules import Rules, fields
from pyoperator.schema import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyoperator.apiserver.registry._kind import Object, WriteContext

SERVICE_RANGE = ipaddress.ip_network("10.96.0.0/16")
_NODE_PORTS = range(30000, 32768)
_HEADLESS = "None"
_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        config.setdefault("timeoutSeconds", 10800)
    elif spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    kind = spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
        port.setdefault("port", 0)
    if kind in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _create(obj: Object, ctx: WriteContext) -> None:
    _allocate(obj, ctx)


def _update(new: Object, old: Object, ctx: WriteContext) -> None:
    """Keep what the server had chosen where the client leaves it out, and drop what the new type doesn't have."""
    spec, before = new.setdefault("spec", {}), old["spec"]
    if spec.get("type", "ClusterIP") != "ExternalName" and before.get("type") != "ExternalName":
        if not spec.get("clusterIP"):
            spec.pop("clusterIP", None)
            for name in ("clusterIP", "clusterIPs"):
                if name in before:
                    spec[name] = before[name]
        elif not spec.get("clusterIPs") or spec["clusterIPs"] == before.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"], *(before.get("clusterIPs") or ())[1:]]
        for name in ("ipFamilies", "ipFamilyPolicy"):
            if name in before:
                spec.setdefault(name, before[name])
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        known = {
            (port.get("protocol", "TCP"), port.get("port")): port.get("nodePort") for port in before.get("ports") or ()
        }
        for port in spec.get("ports") or ():
            kept = known.get((port.get("protocol", "TCP"), port.get("port")))
            if kept and not port.get("nodePort"):
                port["nodePort"] = kept
    else:
        for port in spec.get("ports") or ():
            if port.get("nodePort") and before.get("type") in ("NodePort", "LoadBalancer"):
                del port["nodePort"]
        spec.pop("externalTrafficPolicy", None) if before.get("externalTrafficPolicy") else None
        spec.pop("allocateLoadBalancerNodePorts", None)
    if spec.get("type") == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            spec.pop(name, None)
    else:
        _default(new)
        _allocate(new, ctx)


def _allocate(obj: Object, ctx: WriteContext) -> None:
    spec = obj["spec"]
    if spec["type"] not in ("ClusterIP", "NodePort", "LoadBalancer"):
        return
    if not spec.get("clusterIP"):
        metadata = obj.get("metadata", {})
        spec["clusterIP"] = _free_address(f"{metadata.get('namespace')}/{metadata.get('name')}", ctx)
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    if spec["clusterIP"] == _HEADLESS and not spec.get("selector"):
        # Nobody knows what such a service points to: it promises both families.
        spec.setdefault("ipFamilies", ["IPv4", "IPv6"])
        spec.setdefault("ipFamilyPolicy", "RequireDualStack")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] == "ClusterIP" or spec.get("allocateLoadBalancerNodePorts") is False:
        return
    for port in spec.get("ports") or ():
        if not port.get("nodePort"):
            port["nodePort"] = _free_node_port(ctx)


def _free_address(key: str, ctx: WriteContext) -> str:
    """Choose by the service's name, so that a run can be repeated; the next free one where that is taken."""
    size = SERVICE_RANGE.num_addresses - 2
    start = zlib.crc32(key.encode()) % size
    for step in range(size):
        address = str(SERVICE_RANGE[1 + (start + step) % size])
        if not ctx.taken(address):
            return address
    return str(SERVICE_RANGE[1 + start])


def _free_node_port(ctx: WriteContext) -> int:
    port = ctx.random.choice(_NODE_PORTS)
    for _ in _NODE_PORTS:
        if not ctx.taken(str(port)):
            break
        port = port + 1 if port + 1 in _NODE_PORTS else _NODE_PORTS.start
    return port


def _check(obj: Object, old: Object | None) -> list[FieldError]:
    spec = obj["spec"]
    kind, headless = spec["type"], spec.get("clusterIP") == _HEADLESS
    faults: list[FieldError] = []
    ports = spec.get("ports") or []
    if not ports and not headless and kind != "ExternalName":
        faults.append(FieldError.required("spec.ports"))
    if kind in ("NodePort", "LoadBalancer") and headless:
        detail = f"may not be set to 'None' for {kind} services"
        faults.append(FieldError.invalid("spec.clusterIPs[0]", _HEADLESS, detail))
    if kind == "ExternalName" and not spec.get("externalName"):
        faults.append(FieldError.required("spec.externalName"))
    faults += _ports(ports)
    faults += label_map(spec.get("selector") or {}, "spec.selector")
    faults += one_of(spec, "spec", "sessionAffinity", ("ClientIP", "None"))
    faults += one_of(spec, "spec", "type", ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"))
    faults += one_of(spec, "spec", "internalTrafficPolicy", ("Cluster", "Local"))
    if kind not in ("NodePort", "LoadBalancer") and spec.get("externalTrafficPolicy"):
        detail = "may only be set for externally-accessible services"
        faults.append(FieldError.invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], detail))
    return [*faults, *_addresses(spec, old)]


def _ports(ports: list[Object]) -> Iterator[FieldError]:
    names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        where, name = f"spec.ports[{index}]", port.get("name", "")
        if not name and len(ports) > 1:
            yield FieldError.required(f"{where}.name")
        elif name:
            yield from label_name(name, f"{where}.name")
            if name in names:
                yield FieldError.duplicate(f"{where}.name", name)
            names.add(name)
        yield from port_number(port.get("port"), f"{where}.port")
        yield from one_of(port, where, "protocol", ("SCTP", "TCP", "UDP"))
        yield from port_reference(port.get("targetPort"), f"{where}.targetPort")
        key = (port.get("protocol"), port.get("port"))
        if key in seen:
            shown = {
                "Name": "", "Protocol": key[0], "AppProtocol": None, "Port": key[1], "TargetPort": 0, "NodePort": 0,
            }  # fmt: skip
            yield FieldError.duplicate(where, shown)
        seen.add(key)


def _addresses(spec: Object, old: Object | None) -> Iterator[FieldError]:
    addresses = spec.get("clusterIPs") or []
    if old is not None:
        before = old["spec"].get("clusterIPs") or []
        if before and addresses[:1] != before[:1] and spec["type"] != "ExternalName":
            yield FieldError.invalid("spec.clusterIPs[0]", addresses, "may not change once set")
        return
    for index, address in enumerate(addresses):
        if address == _HEADLESS:
            continue
        try:
            inside = ipaddress.ip_address(address) in SERVICE_RANGE
        except ValueError:
            yield FieldError.invalid(f"spec.clusterIPs[{index}]", address, _ADDRESS)
            continue
        if not inside:
            detail = (
                f"failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. "
                f"The range of valid IPs is {SERVICE_RANGE}"
            )
            yield FieldError.invalid("spec.clusterIPs", addresses, detail)


def _default_endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _check_endpoints(obj: Object, old: Object | None) -> list[FieldError]:
    faults: list[FieldError] = []
    for index, subset in enumerate(obj.get("subsets") or ()):
        for part in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(subset.get(part) or ()):
                faults += _address(address.get("ip", ""), f"subsets[{index}].{part}[{place}].ip")
        for place, port in enumerate(subset.get("ports") or ()):
            where = f"subsets[{index}].ports[{place}]"
            if port.get("name"):
                faults += label_name(port["name"], f"{where}.name")
            faults += port_number(port.get("port"), f"{where}.port")
    return faults


def _address(value: str, field: str) -> Iterator[FieldError]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        yield FieldError.invalid(field, value, _ADDRESS)
        yield FieldError.invalid(field, value, "must be a valid IP address")


def _default_slice(obj: Object) -> None:
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
    obj.setdefault("endpoints", None)
    obj.setdefault("ports", None)
    for endpoint in obj.get("endpoints") or ():
        endpoint.setdefault("conditions", {})


def _check_slice(obj: Object, old: Object | None) -> list[FieldError]:
    if not obj.get("addressType"):
        return [FieldError.required("addressType")]
    faults = [*one_of(obj, "", "addressType", ("FQDN", "IPv4", "IPv6"))]
    if old is not None and obj["addressType"] != old.get("addressType"):
        faults.append(FieldError.invalid("addressType", obj["addressType"], "field is immutable"))
    return faults


SERVICES: dict[tuple[str, str], Rules] = {
    ("", "Service"): Rules(
        default=_default, create=_create, update=_update, check=_check, selectable=fields("spec.clusterIP", "spec.type")
    ),
    ("", "Endpoints"): Rules(default=_default_endpoints, check=_check_endpoints),
    ("discovery.k8s.io", "EndpointSlice"): Rules(default=_default_slice, check=_check_slice),
}
