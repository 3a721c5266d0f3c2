from __future__ import annotations

from typing import Any

import pytest

from pyoperator.cache import SelectorError
from pyoperator.controller import (
    EnqueueForObject,
    EnqueueForOwner,
    EnqueueMapped,
    GenericEvent,
    Handler,
    HandlerFunctions,
    Request,
    WorkQueue,
    event_priority,
    predicates,
)
from pyoperator.objects import GroupVersionKind, ObjectKey, UnknownKindError
from tests.controller.support import added, deleted, entry, modified, owner
from tests.support import run_virtual

POSTGRES = GroupVersionKind("db.example.com", "v1", "Postgres")
GENERIC = GenericEvent(ObjectKey("ns", "x"))


def enqueued(handler: Handler, event: Any, priority: int = 0) -> list[Request]:
    async def main() -> list[Request]:
        queue = WorkQueue[Request]()
        handler.handle(event, queue, priority)
        found = []
        while len(queue):
            request = await queue.get()
            assert queue.priority(request) == priority
            found.append(request)
        return found

    return run_virtual(main)


def test_a_request_is_its_key() -> None:
    assert Request("ns", "a") == ObjectKey("ns", "a") == ("ns", "a")
    assert hash(Request("ns", "a")) == hash(ObjectKey("ns", "a"))
    assert str(Request("ns", "a")) == "ns/a"
    assert str(Request("", "a")) == "a"


def test_what_was_there_before_is_less_urgent() -> None:
    a = entry("a")
    assert event_priority(added(a)) == 0
    assert event_priority(added(a, initial=True)) == -100
    assert event_priority(modified(a, entry("a"))) == 0
    assert event_priority(modified(a, a)) == -100
    assert event_priority(modified(a, entry("a"), resync=True)) == -100
    assert event_priority(deleted(a)) == 0
    assert event_priority(GENERIC) == 0


def test_for_object() -> None:
    assert enqueued(EnqueueForObject(), deleted(entry("a")), 3) == [Request("ns", "a")]


def test_for_owner_matches_group_and_kind_whatever_the_version_and_only_the_controller() -> None:
    handler = EnqueueForOwner(POSTGRES, namespaced=True)
    owners = (
        owner("one", api_version="db.example.com/v1beta1"),
        owner("other-group", api_version="example.com/v1"),
        owner("other-kind", kind="Redis"),
        owner("not-controller", controller=False),
    )
    child = entry("child", owner_references=owners)
    assert enqueued(handler, added(child)) == [Request("ns", "one")]
    assert enqueued(handler, deleted(child)) == [Request("ns", "one")]
    every = EnqueueForOwner(POSTGRES, namespaced=True, match_every_owner=True)
    assert enqueued(every, added(child)) == [Request("ns", "one"), Request("ns", "not-controller")]
    assert enqueued(handler, GENERIC) == []


def test_for_owner_takes_the_owners_before_and_after_an_update_once_each() -> None:
    handler = EnqueueForOwner(POSTGRES, namespaced=True)
    before = entry("child", owner_references=(owner("old"),))
    after = entry("child", owner_references=(owner("new"),))
    assert enqueued(handler, modified(before, after)) == [Request("ns", "old"), Request("ns", "new")]
    assert enqueued(handler, modified(after, after)) == [Request("ns", "new")]


def test_a_cluster_scoped_owner_has_no_namespace() -> None:
    handler = EnqueueForOwner(POSTGRES, namespaced=False)
    assert enqueued(handler, added(entry("child", owner_references=(owner("one"),)))) == [Request("", "one")]


def test_an_owner_of_the_core_group_and_one_unknown_to_the_scheme() -> None:
    handler = EnqueueForOwner(GroupVersionKind("", "v1", "Pod"))
    child = entry("child", owner_references=(owner("one", "Pod", "v1"), owner("two", "Pod", "x/v1")))
    assert enqueued(handler, added(child)) == [Request("ns", "one")]
    with pytest.raises(UnknownKindError):
        EnqueueForOwner(POSTGRES)


def test_mapped_joins_old_and_new() -> None:
    handler = EnqueueMapped(lambda found: [Request("ns", target) for target in found.metadata.labels.values()])
    before, after = entry("a", labels={"x": "1", "y": "2"}), entry("a", labels={"x": "1", "z": "3"})
    assert [found.name for found in enqueued(handler, modified(before, after), -100)] == ["1", "2", "3"]


def test_mapped_decodes_if_asked() -> None:
    pod = entry("a", raw=b'{"apiVersion":"v1","kind":"Pod","spec":{"nodeName":"n1"}}')
    handler = EnqueueMapped(
        lambda found: [Request("", found["spec"]["nodeName"])], kind=GroupVersionKind("", "v1", "Pod")
    )
    assert enqueued(handler, added(pod)) == [Request("", "n1")]


def test_handler_functions() -> None:
    handler = HandlerFunctions(
        delete=lambda event, queue, priority: queue.add(Request("deleted", event.key.name), priority=priority)
    )
    assert enqueued(handler, added(entry("a"))) == []
    assert enqueued(handler, deleted(entry("a"))) == [Request("deleted", "a")]
    assert enqueued(handler, GENERIC) == []
    assert repr(handler) == "HandlerFunctions(DELETED)"


@pytest.mark.parametrize(
    ("predicate", "unchanged", "changed"),
    [
        (predicates.ResourceVersionChanged(), {"resource_version": "1"}, {"resource_version": "2"}),
        (predicates.GenerationChanged(), {"generation": 1}, {"generation": 2}),
        (predicates.AnnotationChanged(), {"annotations": {"a": "b"}}, {"annotations": {"a": "c"}}),
        (predicates.LabelChanged(), {"labels": {"a": "b"}}, {"labels": {}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_predicates_on_updates(predicate: Any, unchanged: dict[str, Any], changed: dict[str, Any]) -> None:
    before = entry("a", **unchanged)
    assert not predicate.update(modified(before, entry("a", **unchanged)))
    assert predicate.update(modified(before, entry("a", **changed)))
    assert predicate.create(added(before))
    assert predicate.delete(deleted(before))
    assert predicate.generic(GENERIC)
    assert not predicates.not_(predicate).create(added(before))


def test_label_selector() -> None:
    predicate = predicates.LabelSelectorMatches("app=db,tier!=test")
    yes, no = entry("a", labels={"app": "db"}), entry("a", labels={"app": "db", "tier": "test"})
    assert predicate.create(added(yes))
    assert not predicate.create(added(no))
    assert predicate.update(modified(no, yes))
    assert not predicate.update(modified(yes, no))
    assert predicate.delete(deleted(yes))
    assert not predicate.generic(GENERIC)
    assert predicate.generic(GenericEvent(yes.key, yes))
    with pytest.raises(SelectorError):
        predicates.LabelSelectorMatches("a in b")


def test_predicates_combine() -> None:
    yes: Any = predicates.Predicates()
    no: Any = predicates.Predicates(
        create=lambda _: False, update=lambda _: False, delete=lambda _: False, generic=lambda _: False
    )
    a = entry("a")
    cases = {"create": added(a), "update": modified(a, a), "delete": deleted(a), "generic": GENERIC}
    for name, event in cases.items():

        def ask(predicate: object, name: str = name, event: object = event) -> bool:
            return bool(getattr(predicate, name)(event))

        assert ask(predicates.and_(yes, yes))
        assert not ask(predicates.and_(yes, no))
        assert ask(predicates.or_(no, yes))
        assert not ask(predicates.or_(no, no))
        assert ask(predicates.and_())
        assert not ask(predicates.or_())
        assert ask(predicates.not_(no))
        assert not ask(predicates.not_(yes))
