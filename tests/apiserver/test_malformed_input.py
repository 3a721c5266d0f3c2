"""Whatever comes in, a Status goes out, and the store stays whole."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apiserver.requests import CONFIG_MAPS, CRDS, WIDGETS, Asker, definition

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["metadata", "spec", "data", "status", "kind", "apiVersion", "name", "labels", "annotations", "ownerReferences",
     "finalizers", "generateName", "size", "namespace", "uid", "resourceVersion"]
)  # fmt: skip
OBJECTS = st.dictionaries(
    FIELDS, JSON_VALUES | st.dictionaries(FIELDS, JSON_VALUES, max_size=4) | st.sampled_from(["a", "v1"]), max_size=6
)
QUICK = settings(max_examples=60)

ASK = Asker()
ASK("POST", CRDS, definition(), status=201)


def checked(method: str, path: str, body: bytes, **options: Any) -> None:
    response = ASK.raw(method, path, body, **options)
    assert response.status < 500 or response.status == 501, response.body
    if response.watch is not None:
        response.watch.close()
        return
    if response.body.startswith(b"{"):
        json.loads(response.body)
    for collection in (CONFIG_MAPS, WIDGETS):
        assert ASK.raw("GET", collection).status == 200


@QUICK
@given(body=st.binary(max_size=200))
def test_bytes(body: bytes) -> None:
    checked("POST", CONFIG_MAPS, body)
    checked("POST", CONFIG_MAPS, body, headers={"content-type": "application/yaml"})


@QUICK
@given(body=OBJECTS, path=st.sampled_from([CONFIG_MAPS, WIDGETS, CRDS, "/api/v1/namespaces/default/pods"]))
def test_objects(body: dict[str, Any], path: str) -> None:
    checked("POST", path, json.dumps(body).encode())
    checked("PUT", f"{path}/a", json.dumps(body).encode())
    checked("DELETE", f"{path}/a", json.dumps(body).encode())


@QUICK
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO"]),
    path=st.lists(
        st.sampled_from(
            ["api", "apis", "v1", "namespaces", "default", "pods", "..", "", "%", "a\0", "watch", "status"]
        ),
        max_size=8,
    ),
)
def test_paths(method: str, path: list[str]) -> None:
    checked(method, "/" + "/".join(path), b"")


@QUICK
@given(
    name=st.sampled_from(
        ["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "resourceVersionMatch", "watch",
         "timeoutSeconds", "sendInitialEvents", "allowWatchBookmarks", "includeObject", "pretty"]
    ),
    value=st.text(max_size=12) | st.sampled_from(["true", "1", "-1", "Exact", "a=b", "a in (b)", "99999999999999999999"]),
    accept=st.sampled_from(["", "*/*", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io", ";;;", "a/b;q=x"]),
)  # fmt: skip
def test_queries(name: str, value: str, accept: str) -> None:
    checked("GET", CONFIG_MAPS, b"", query={name: value}, headers={"accept": accept})
