"""Objects found by label, and selectors found by what they select: no controller looks at a whole namespace per event."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pyoperator.apiserver.controllers._object import Object

_Key = tuple[str, str]  # namespace, name
_NO_PAIR = ("", "")


class _Buckets:
    """Keys of objects under (namespace, label, value); each object is under the pairs that it had when it was put."""

    def __init__(self, pairs_of: Callable[[Object], Iterable[tuple[str, str]]]) -> None:
        self._pairs_of = pairs_of
        self._buckets: dict[tuple[str, str, str], dict[_Key, Object]] = {}
        self._pairs: dict[_Key, tuple[tuple[str, str], ...]] = {}

    def put(self, obj: Object) -> None:
        key = _key(obj)
        pairs = tuple(self._pairs_of(obj))
        if self._pairs.get(key) != pairs:
            self.remove(key)
        self._pairs[key] = pairs
        for pair in pairs:
            self._buckets.setdefault((key[0], *pair), {})[key] = obj

    def remove(self, key: _Key) -> None:
        for pair in self._pairs.pop(key, ()):
            bucket = self._buckets[key[0], *pair]
            del bucket[key]
            if not bucket:
                del self._buckets[key[0], *pair]

    def under(self, namespace: str, pair: tuple[str, str]) -> Mapping[_Key, Object]:
        return self._buckets.get((namespace, *pair), {})


class LabelIndex(_Buckets):
    """Objects by their labels."""

    def __init__(self) -> None:
        super().__init__(lambda obj: (obj["metadata"].get("labels") or {}).items())

    def with_labels(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Return the objects that have all of ``labels``, of which there must be one at least."""
        smallest = min((self.under(namespace, pair) for pair in labels.items()), key=len)
        return [obj for obj in smallest.values() if labels.items() <= (obj["metadata"].get("labels") or {}).items()]


class SelectorIndex(_Buckets):
    """Objects that select others, each under one of the label values that it demands, or under none.

    ``demanded(obj)`` returns the labels that whatever it selects must have; None: it selects nothing.
    """

    def __init__(self, demanded: Callable[[Object], Mapping[str, str] | None]) -> None:
        def pairs(obj: Object) -> Iterable[tuple[str, str]]:
            labels = demanded(obj)
            return () if labels is None else (min(labels.items(), default=_NO_PAIR),)

        super().__init__(pairs)

    def candidates(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Return the objects that may select something with ``labels``."""
        pairs = (_NO_PAIR, *labels.items())
        return [obj for pair in pairs for obj in self.under(namespace, pair).values()]


def _key(obj: Object) -> _Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
