from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoperator.cache import Cache, CacheOptions, FieldSelector, NoIndex, SelectorError
from pyoperator.objects import ObjectKey
from tests.cache.fake_server import WIDGET, FakeServer, run_cache

values = st.text(st.sampled_from("ab=,\\! "), max_size=6)
pairs = st.lists(st.tuples(st.sampled_from(["spec.a", "metadata.name", "x-y.z"]), values), max_size=4, unique=True)


@given(pairs, pairs)
def test_what_is_rendered_is_read_again(equal: list[tuple[str, str]], unequal: list[tuple[str, str]]) -> None:
    made = FieldSelector(tuple(equal), tuple(unequal))
    assert FieldSelector.parse(str(made)) == made


@given(st.text(st.sampled_from("a.=,!\\"), max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = FieldSelector.parse(text)
    except SelectorError:
        return
    assert FieldSelector.parse(str(found)) == found


def test_the_grammar_of_kubernetes() -> None:
    parsed = FieldSelector.parse("spec.nodeName=a,metadata.name==b,,status.phase!=Failed,x=")
    assert parsed.equal == (("spec.nodeName", "a"), ("metadata.name", "b"), ("x", ""))
    assert parsed.unequal == (("status.phase", "Failed"),)
    assert FieldSelector.parse(r"a=x\,y\=z\\").equal == (("a", "x,y=z\\"),)
    assert FieldSelector.parse("") == FieldSelector()
    for text in ("a", "=b", "a=b=c", "a!b", "a=\\n", "a=b\\"):
        with pytest.raises(SelectorError, match="field selector"):
            FieldSelector.parse(text)
    with pytest.raises(SelectorError):
        CacheOptions(field_selector="nonsense")


def test_what_an_informer_selects_already_is_left_out() -> None:
    wanted = FieldSelector.parse("a=1,b=2,c!=3")
    assert wanted.without(FieldSelector.parse("a=1,c!=3")) == FieldSelector.parse("b=2")
    assert wanted.without(FieldSelector.parse("a=2")) is None
    assert wanted.without(FieldSelector()) == wanted


def test_lists_are_answered_from_indexes_named_after_fields() -> None:
    server = FakeServer()
    for number in range(6):
        name, namespace = f"w{number % 3}", "ab"[number // 3]
        server.put(name, namespace, spec={"nodeName": f"n{number % 2}"}, status={"phase": "Ready"})

    def of_node(found: object) -> list[str]:
        return [found["spec"]["nodeName"]]  # type: ignore[index]  # Unstructured

    async def body(cache: Cache) -> None:
        cache.add_index(WIDGET, "spec.nodeName", of_node)
        cache.add_index(WIDGET, "spec.nodeName", of_node)  # the same again: no harm
        cache.get_informer(WIDGET)
        await cache.wait_for_cache_sync()

        def found(text: str, **options: str) -> list[str]:
            return [str(entry.key) for entry in cache.entries(WIDGET, field_selector=text, **options)]  # type: ignore[arg-type]

        assert found("spec.nodeName=n1") == ["a/w1", "b/w0", "b/w2"]
        assert found("spec.nodeName=n1", namespace="b") == ["b/w0", "b/w2"]
        assert found("spec.nodeName=n1,metadata.name=w0") == ["b/w0"]
        assert found("spec.nodeName=n1,spec.nodeName=n0") == []
        assert found("metadata.name=w0") == ["a/w0", "b/w0"]
        assert found("metadata.name=w0,metadata.namespace=b") == ["b/w0"]
        assert found("metadata.namespace=b,metadata.namespace=a") == []
        assert found("metadata.namespace=b", namespace="a") == []
        assert found("metadata.name=w0", namespace="b") == ["b/w0"]
        assert found("metadata.name=gone") == []
        assert cache.list(WIDGET, field_selector="spec.nodeName=n1", index=("spec.nodeName", "n1"))[0].name == "w1"
        with pytest.raises(NoIndex, match=r"'status.phase' \(known: spec.nodeName\): add it with cache.add_index"):
            cache.list(WIDGET, field_selector="status.phase=Ready")
        with pytest.raises(SelectorError, match="can't answer '!='"):
            cache.list(WIDGET, field_selector="spec.nodeName!=n1")
        with pytest.raises(ValueError, match="built in"):
            cache.add_index(WIDGET, "metadata.name", of_node)
        # Indexes follow changes.
        cache.find_informer(WIDGET).store.delete(ObjectKey("a", "w1"))  # type: ignore[union-attr]
        assert found("spec.nodeName=n1") == ["b/w0", "b/w2"]

    run_cache(server, body)
