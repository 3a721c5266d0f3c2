"""OpenAPI documents: v3 as an index and a document per group and version, v2 as one document.

Good for ``kubectl explain``, ``edit``, client-side validation, and for finding out that the server validates fields.
In JSON; v2 in protobuf as well, the only form in which kubectl reads it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from pyoperator.apiserver.registry._builtin import BuiltinKind
from pyoperator.apiserver.registry._builtin_schemas import builtin_schemas
from pyoperator.apiserver.registry._openapi_protobuf import ASKED_AS, MEDIA_TYPE, encode_v2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyoperator.apiserver.registry._kind import Kind, Object

Answer = tuple[int, str, bytes, "Mapping[str, str]"]

_JSON = "application/json"
_V3 = "#/components/schemas/"
_V2 = "#/definitions/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_INFO = {"title": "Kubernetes", "version": "1.36"}
_SHARED = {
    "apiVersion": "The group and version of the schema that this object is written in.",
    "kind": "The kind of object, in CamelCase.",
}
# (HTTP method, action, whether on the collection, the verb that must be served)
_OPERATIONS = (
    ("get", "list", True, "list"),
    ("post", "post", True, "create"),
    ("delete", "deletecollection", True, "deletecollection"),
    ("get", "get", False, "get"),
    ("put", "put", False, "update"),
    ("patch", "patch", False, "patch"),
    ("delete", "delete", False, "delete"),
)
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


class OpenAPI:
    """Render documents on demand; each is kept until what is served changes."""

    def __init__(self) -> None:
        self._version = -1
        self._documents: dict[str, tuple[bytes, str]] = {}

    def answer(
        self, path: str, accept: str, query: Sequence[tuple[str, str]], kinds: Sequence[Kind], version: int
    ) -> Answer | None:
        if version != self._version:
            self._documents.clear()
            self._version = version
        path = path.rstrip("/")
        if path not in ("/openapi/v2", "/openapi/v3") and not path.startswith("/openapi/v3/"):
            return None
        if path == "/openapi/v2" and _first_media(accept) in {ASKED_AS, MEDIA_TYPE}:
            body, digest = self._render("v2.pb", kinds)
            return 200, MEDIA_TYPE, body, {"Etag": f'"{digest}"', "Vary": "Accept"}
        if not _accepts_json(accept):
            return 406, "", b"", {}
        name = path.removeprefix("/openapi/")
        if name == "v3":
            paths = {
                group_path: {
                    "serverRelativeURL": f"/openapi/v3/{group_path}?hash={self._render(f'v3/{group_path}', kinds)[1]}"
                }
                for group_path in _group_paths(kinds)
            }
            return 200, _JSON, msgspec.json.encode({"paths": paths}), {}
        if name != "v2" and name.removeprefix("v3/") not in _group_paths(kinds):
            return 404, "text/plain; charset=utf-8", b"404 page not found\n", {}
        body, digest = self._render(name, kinds)
        headers = {"Etag": f'"{digest}"', "Vary": "Accept"}
        wanted = dict(query).get("hash")
        if wanted == digest:
            headers["Cache-Control"] = "public, immutable"
        elif wanted:
            return 301, _JSON, b"", {**headers, "Location": f"{path}?hash={digest}"}
        return 200, _JSON, body, headers

    def _render(self, name: str, kinds: Sequence[Kind]) -> tuple[bytes, str]:
        found = self._documents.get(name)
        if found is None:
            if name == "v2.pb":
                body = encode_v2(_v2(kinds))
            else:
                document = _v2(kinds) if name == "v2" else _v3(name.removeprefix("v3/"), kinds)
                body = msgspec.json.encode(document)
            found = self._documents[name] = (body, hashlib.sha256(body).hexdigest().upper())
        return found


def _first_media(accept: str) -> str:
    return accept.partition(",")[0].partition(";")[0].strip()


def _accepts_json(accept: str) -> bool:
    media = [entry.partition(";")[0].strip() for entry in accept.split(",")]
    return not accept.strip() or any(entry in ("*/*", "application/*", _JSON) for entry in media)


def _group_path(kind: Kind) -> str:
    return f"apis/{kind.gvk.group}/{kind.gvk.version}" if kind.gvk.group else f"api/{kind.gvk.version}"


def _group_paths(kinds: Sequence[Kind]) -> list[str]:
    return [*dict.fromkeys(_group_path(kind) for kind in kinds)]


def _v3(group_path: str, kinds: Sequence[Kind]) -> Object:
    chosen = [kind for kind in kinds if _group_path(kind) == group_path]
    paths: Object = {}
    for kind in chosen:
        paths |= _paths(kind, _V3)
    schemas = _schemas(chosen, _V3)
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def _v2(kinds: Sequence[Kind]) -> Object:
    paths: Object = {}
    for kind in kinds:
        paths |= _paths(kind, _V2)
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": _schemas(kinds, _V2)}


def _schemas(kinds: Sequence[Kind], prefix: str) -> Object:
    builtin = builtin_schemas()
    names = [f"{_META}{name}" for name in ("ObjectMeta", "ListMeta", "DeleteOptions", "Status")]
    names += [kind.definition for kind in kinds if isinstance(kind, BuiltinKind)]
    names = [name for name in names if name in builtin.definitions]
    schemas: Object = {name: _referring(schema, prefix) for name, schema in builtin.closure(names).items()}
    for kind in kinds:
        name = _name(kind)
        if not isinstance(kind, BuiltinKind):
            schemas[name] = _custom_schema(kind, prefix)
        schemas[name] = {**schemas[name], "x-kubernetes-group-version-kind": [_gvk(kind)]}
        if "list" in kind.verbs:
            schemas[f"{name}List"] = _list_schema(kind, name, prefix)
    return schemas


def _name(kind: Kind) -> str:
    """Return the schema's name: a built-in's own, or the reversed group, version and kind."""
    if isinstance(kind, BuiltinKind):
        return kind.definition
    return ".".join([*reversed(kind.gvk.group.split(".")), kind.gvk.version, kind.gvk.kind])


def _gvk(kind: Kind) -> Object:
    return {"group": kind.gvk.group, "kind": kind.gvk.kind, "version": kind.gvk.version}


def _referring(schema: Any, prefix: str) -> Any:
    """Write references as the document's format has them."""
    if isinstance(schema, list):
        return [_referring(entry, prefix) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    result: Object = {}
    for key, value in schema.items():
        if key in ("default", "enum", "required"):
            result[key] = value
        elif key == "properties":  # names, not keywords: there is a property called default
            result[key] = {name: _referring(entry, prefix) for name, entry in value.items()}
        elif key != "$ref":
            result[key] = _referring(value, prefix)
    target = schema.get("$ref")
    if not isinstance(target, str):
        return result
    reference = {"$ref": f"{prefix}{target}"}
    return {**result, "allOf": [reference]} if result else reference


def _custom_schema(kind: Kind, prefix: str) -> Object:
    schema = dict(kind.schema or {"type": "object"})
    properties = dict(schema.get("properties") or {})
    for name, description in _SHARED.items():
        properties[name] = {"type": "string", "description": description}
    properties["metadata"] = {
        "description": "Standard metadata of an object.",
        "allOf": [{"$ref": f"{prefix}{_META}ObjectMeta"}],
    }
    return {**schema, "properties": properties}


def _list_schema(kind: Kind, name: str, prefix: str) -> Object:
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            **{key: {"type": "string", "description": text} for key, text in _SHARED.items()},
            "items": {"type": "array", "items": {"$ref": f"{prefix}{name}"}},
            "metadata": {"allOf": [{"$ref": f"{prefix}{_META}ListMeta"}]},
        },
        "x-kubernetes-group-version-kind": [{**_gvk(kind), "kind": kind.list_kind}],
    }


def _paths(kind: Kind, prefix: str) -> Object:
    collection = f"/{_group_path(kind)}/" + ("namespaces/{namespace}/" if kind.namespaced else "") + kind.plural
    item = f"{collection}/{{name}}"
    paths: Object = {}
    for method, action, on_collection, verb in _OPERATIONS:
        if verb in kind.verbs:
            path = paths.setdefault(collection if on_collection else item, {})
            path[method] = _operation(kind, method, action, prefix)
    for name in sorted(kind.subresources & {"status", "scale"}):
        paths[f"{item}/{name}"] = {
            method: _operation(kind, method, method, prefix) for method in ("get", "put", "patch")
        }
    if "list" in kind.verbs and kind.namespaced:
        paths[f"/{_group_path(kind)}/{kind.plural}"] = {"get": _operation(kind, "get", "list", prefix)}
    return paths


def _operation(kind: Kind, method: str, action: str, prefix: str) -> Object:
    operation: Object = {
        "operationId": f"{action}{kind.gvk.group.title().replace('.', '')}{kind.gvk.version.title()}{kind.gvk.kind}",
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
    }
    if method in ("post", "put", "patch"):
        operation["parameters"] = [_parameter(name, prefix) for name in _WRITE_PARAMETERS]
    answer = {"description": "OK"}
    name = f"{_name(kind)}List" if action == "list" else _name(kind)
    target = {"schema": {"$ref": f"{prefix}{name}"}}
    operation["responses"] = {"200": {**answer, "content": {_JSON: target}} if prefix == _V3 else {**answer, **target}}
    return operation


def _parameter(name: str, prefix: str) -> Object:
    kind = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "query", **({"schema": kind} if prefix == _V3 else kind)}
