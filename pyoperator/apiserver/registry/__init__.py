"""What is served: kinds as data, with their names, schemas, defaults and checks; discovery, OpenAPI and Tables of them."""

from pyoperator.apiserver.registry._builtin_schemas import BuiltinSchemas, builtin_schemas
from pyoperator.apiserver.registry._crd import crd_faults
from pyoperator.apiserver.registry._eviction import EVICTION
from pyoperator.apiserver.registry._kind import ALL_VERBS, Kind, MalformedObject, WriteContext
from pyoperator.apiserver.registry._registry import Registry
from pyoperator.apiserver.registry._scale import read_scale, write_scale

__all__ = [
    "ALL_VERBS",
    "EVICTION",
    "BuiltinSchemas",
    "Kind",
    "MalformedObject",
    "Registry",
    "WriteContext",
    "builtin_schemas",
    "crd_faults",
    "read_scale",
    "write_scale",
]
