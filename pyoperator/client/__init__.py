"""Talk to an API server: transport, gate, errors, configuration, credentials, and the Client.

``AiohttpTransport`` carries the bytes over HTTP, ``Configuration`` says where to and as whom; both are imported when
first used, because an in-process test needs neither aiohttp nor a kubeconfig reader.
"""

from typing import TYPE_CHECKING, Any

from pyoperator.client._client import Client
from pyoperator.client._create_or_patch import OperationResult
from pyoperator.client._errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    LeadershipLost,
    MethodNotAllowed,
    NotFound,
    ServerTimeout,
    ServiceUnavailable,
    Status,
    TooManyRequests,
    TransportError,
    Unauthorized,
    UnsupportedMediaType,
    error_for,
    ignore_not_found,
)
from pyoperator.client._gate import Gate, OpenGate, is_mutating
from pyoperator.client._impersonation import impersonation_headers
from pyoperator.client._lists import ObjectList, Undecodable, Watch, WatchEvent
from pyoperator.client._options import (
    CollectionOptions,
    DeleteOptions,
    FieldValidation,
    LabelSelector,
    ListOptions,
    PageOptions,
    ReadOptions,
    WatchOptions,
    WriteOptions,
)
from pyoperator.client._patches import (
    ApplyPatch,
    JSONPatch,
    MergePatch,
    Patch,
    RawPatch,
    StrategicMergePatch,
    merge_patch_between,
)
from pyoperator.client._reader import Key
from pyoperator.client._rest_mapper import NoKindMatch, RESTMapper, is_missing_kind
from pyoperator.client._retry import RetryPolicy
from pyoperator.client._splitting import LineSplitter, ListSplitter, MalformedStream
from pyoperator.client._streams import ObjectStream
from pyoperator.client._subresources import PodClient, Scale, ServiceAccountToken, SubresourceClient
from pyoperator.client._transport import Query, Response, StreamResponse, Transport, is_in_process
from pyoperator.client._wrappers import (
    DelegatingClient,
    DryRunClient,
    FieldOwnerClient,
    FieldValidationClient,
    NamespacedClient,
    signature_of,
)

if TYPE_CHECKING:
    from pyoperator.client._aiohttp import AiohttpTransport
    from pyoperator.client._configuration import Configuration, ConfigurationError
    from pyoperator.client._credentials import (
        BasicCredentials,
        ClientCertificate,
        Credentials,
        NoCredentials,
        TokenCredentials,
        TokenFileCredentials,
    )
    from pyoperator.client._exec_plugin import ExecCredentials
    from pyoperator.client._kubernetes_asyncio import kubernetes_asyncio_codec, kubernetes_asyncio_configuration
    from pyoperator.client._tls import ServerTrust
    from pyoperator.client._transport_statistics import DURATION_BOUNDS, DurationHistogram, TransportStatistics

_LAZY = {
    "AiohttpTransport": "_aiohttp",
    "DURATION_BOUNDS": "_transport_statistics",
    "DurationHistogram": "_transport_statistics",
    "TransportStatistics": "_transport_statistics",
    "Configuration": "_configuration",
    "ConfigurationError": "_configuration",
    "BasicCredentials": "_credentials",
    "ClientCertificate": "_credentials",
    "Credentials": "_credentials",
    "NoCredentials": "_credentials",
    "TokenCredentials": "_credentials",
    "TokenFileCredentials": "_credentials",
    "ExecCredentials": "_exec_plugin",
    "ServerTrust": "_tls",
    "kubernetes_asyncio_codec": "_kubernetes_asyncio",
    "kubernetes_asyncio_configuration": "_kubernetes_asyncio",
}

__all__ = [
    "DURATION_BOUNDS",
    "AiohttpTransport",
    "AlreadyExists",
    "ApiError",
    "ApplyPatch",
    "BadRequest",
    "BasicCredentials",
    "Client",
    "ClientCertificate",
    "CollectionOptions",
    "Configuration",
    "ConfigurationError",
    "Conflict",
    "Credentials",
    "DelegatingClient",
    "DeleteOptions",
    "DryRunClient",
    "DurationHistogram",
    "ExecCredentials",
    "Expired",
    "FieldOwnerClient",
    "FieldValidation",
    "FieldValidationClient",
    "Forbidden",
    "Gate",
    "Gone",
    "InternalError",
    "Invalid",
    "JSONPatch",
    "Key",
    "LabelSelector",
    "LeadershipLost",
    "LineSplitter",
    "ListOptions",
    "ListSplitter",
    "MalformedStream",
    "MergePatch",
    "MethodNotAllowed",
    "NamespacedClient",
    "NoCredentials",
    "NoKindMatch",
    "NotFound",
    "ObjectList",
    "ObjectStream",
    "OpenGate",
    "OperationResult",
    "PageOptions",
    "Patch",
    "PodClient",
    "Query",
    "RESTMapper",
    "RawPatch",
    "ReadOptions",
    "Response",
    "RetryPolicy",
    "Scale",
    "ServerTimeout",
    "ServerTrust",
    "ServiceAccountToken",
    "ServiceUnavailable",
    "Status",
    "StrategicMergePatch",
    "StreamResponse",
    "SubresourceClient",
    "TokenCredentials",
    "TokenFileCredentials",
    "TooManyRequests",
    "Transport",
    "TransportError",
    "TransportStatistics",
    "Unauthorized",
    "Undecodable",
    "UnsupportedMediaType",
    "Watch",
    "WatchEvent",
    "WatchOptions",
    "WriteOptions",
    "error_for",
    "ignore_not_found",
    "impersonation_headers",
    "is_in_process",
    "is_missing_kind",
    "is_mutating",
    "kubernetes_asyncio_codec",
    "kubernetes_asyncio_configuration",
    "merge_patch_between",
    "signature_of",
]


def __getattr__(name: str) -> Any:
    """Import what pulls in aiohttp, TLS or YAML only when it is asked for (PEP 562)."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"pyoperator.client.{module}"), name)
