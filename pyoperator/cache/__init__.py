"""A local copy of what the API server holds, always fresh: reflector, store, informer, Cache.

A :class:`Reflector` lists and watches one collection and hands raw bytes to an :class:`Informer`, whose
:class:`Store` keeps them with their metadata and indexes and whose handlers hear of each change. The :class:`Cache`
owns the informers of a process and answers reads; :class:`CachedClient` is a Client that reads from it. Objects are
built only when somebody asks for one, afresh each time.
"""

from pyoperator.cache._cache import Cache
from pyoperator.cache._cached_client import CachedClient
from pyoperator.cache._entry import CacheEvent, Entry, EventHandler, EventType
from pyoperator.cache._errors import CacheNotReady, NoIndex, NoInformer, NotSynced, SelectorError
from pyoperator.cache._field_selector import FieldSelector
from pyoperator.cache._informer import Informer, Registration
from pyoperator.cache._options import ALL_NAMESPACES, CacheOptions
from pyoperator.cache._reflector import Reflector
from pyoperator.cache._selectors import LabelSelector, Requirement
from pyoperator.cache._status import CacheHealth, CacheStatus, InformerStatus, ReflectorStatus
from pyoperator.cache._store import IndexFunction, Store, StoreStatistics, owner_uids
from pyoperator.cache._target import ReflectorTarget

__all__ = [
    "ALL_NAMESPACES",
    "Cache",
    "CacheEvent",
    "CacheHealth",
    "CacheNotReady",
    "CacheOptions",
    "CacheStatus",
    "CachedClient",
    "Entry",
    "EventHandler",
    "EventType",
    "FieldSelector",
    "IndexFunction",
    "Informer",
    "InformerStatus",
    "LabelSelector",
    "NoIndex",
    "NoInformer",
    "NotSynced",
    "Reflector",
    "ReflectorStatus",
    "ReflectorTarget",
    "Registration",
    "Requirement",
    "SelectorError",
    "Store",
    "StoreStatistics",
    "owner_uids",
]
