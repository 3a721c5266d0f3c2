"""Objects by version: one revision counter, immutable encoded objects, a log of changes, watches and selectors.

Everything is synchronous except reading from a :class:`WatchSubscription` and waiting for a version (:func:`reached`). The store knows bytes, keys, labels and
selectable fields; it knows nothing of schemas, users or HTTP.
"""

from pyoperator.apiserver.storage._arrival import reached
from pyoperator.apiserver.storage._change import Change
from pyoperator.apiserver.storage._selection import Selection
from pyoperator.apiserver.storage._selectors import (
    FieldSelector,
    LabelSelector,
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)
from pyoperator.apiserver.storage._sqlite import DirectoryInUse, DirectoryUnusable, SQLitePersistence
from pyoperator.apiserver.storage._store import Compacted, Persistence, Store
from pyoperator.apiserver.storage._stored_object import StoredObject
from pyoperator.apiserver.storage._subscription import WatchSubscription
from pyoperator.apiserver.storage._view import Encoder

__all__ = [
    "Change",
    "Compacted",
    "DirectoryInUse",
    "DirectoryUnusable",
    "Encoder",
    "FieldSelector",
    "LabelSelector",
    "Persistence",
    "SQLitePersistence",
    "Selection",
    "SelectorError",
    "Store",
    "StoredObject",
    "WatchSubscription",
    "parse_field_selector",
    "parse_label_selector",
    "reached",
]
