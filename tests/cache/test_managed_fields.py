"""Managed fields are taken out and nothing else is, wherever they stand and whatever looks like them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.cache._intake import Intake, strip_managed_fields
from pyoperator.cache._options import CacheOptions
from pyoperator.objects import Scheme

MANAGED = [{"manager": "x", "fieldsV1": {"f:spec": {".": {}, 'k:{"name":"a"}': {}}}}]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(['"managedFields":[]', '\\"managedFields', ",", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["managedFields", "a", 'x"managedFields', "b"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def expected(document: dict[str, object]) -> dict[str, object]:
    metadata = document["metadata"]
    assert isinstance(metadata, dict)
    return {**document, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}


@given(
    before=st.dictionaries(st.sampled_from(["annotations", "labels"]), values, max_size=2),
    managed=st.lists(values, max_size=2),
    after=st.dictionaries(st.sampled_from(["name", "uid"]), values, max_size=2),
    spec=values,
    first=st.booleans(),
    indent=st.sampled_from([-1, 0, 1]),
)
def test_only_they_go(
    before: dict[str, object],
    managed: list[object],
    after: dict[str, object],
    spec: object,
    first: bool,
    indent: int,
) -> None:
    metadata = {"metadata": {**before, "managedFields": managed, **after}}
    document = {"spec": spec, **metadata} if first else {**metadata, "spec": spec}
    data = msgspec.json.format(msgspec.json.encode(document), indent=indent)
    assert msgspec.json.decode(strip_managed_fields(data)) == expected(document)


@pytest.mark.parametrize("metadata", [{}, {"name": "x"}, {"uid": "u", "name": "x"}], ids=["alone", "one", "two"])
@pytest.mark.parametrize("first", [True, False])
def test_what_remains_is_the_servers_own_text(metadata: dict[str, str], first: bool) -> None:
    managed = {"managedFields": MANAGED}
    document = {"kind": "K", "metadata": {**managed, **metadata} if first else {**metadata, **managed}, "spec": 1.50}
    data = msgspec.json.encode(document).replace(b"1.5", b"1.50")  # rebuilding would keep this too; re-parsing not
    assert strip_managed_fields(data) == msgspec.json.encode(expected(document)).replace(b"1.5", b"1.50")


def test_namespaces_and_label_values_are_shared_between_objects() -> None:
    reader = Intake(Scheme(), CacheOptions(), lambda _key: None)
    text = '{{"metadata":{{"name":"{}","namespace":"team-space","labels":{{"name":"{}","tier":"gold-plated"}}}}}}'
    one, two = (reader.read(text.format(name, name).encode()).metadata for name in ("a", "b"))
    assert one.namespace is two.namespace
    assert one.labels["tier"] is two.labels["tier"]
    assert one.labels is not two.labels
