"""What a Kubernetes object is: its kind, its key, its metadata, and the Python shapes it can take.

One :class:`Scheme` knows which class stands for which kind and hands out the :class:`Codec` between the JSON bytes on
the wire and that class; nothing else asks what kind of class an object has.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pyoperator.objects._builtin_kinds import BUILTIN_KINDS
from pyoperator.objects._finalizers import add_finalizer, has_finalizer, remove_finalizer
from pyoperator.objects._kinds import GroupVersionKind, ResourceKind
from pyoperator.objects._metadata import Metadata, ObjectKey, OwnerReference, partial_metadata
from pyoperator.objects._shapes import metadata_of
from pyoperator.objects._timestamps import format_micro_time, format_time, parse_time
from pyoperator.objects._unstructured import Unstructured

if TYPE_CHECKING:
    from pyoperator.objects._codec import Codec, DecodeError, KindArgument
    from pyoperator.objects._conditions import Condition, find_condition, is_condition_true, set_condition
    from pyoperator.objects._custom_resource import (
        CustomResource,
        ListMeta,
        Model,
        ObjectMeta,
        PrinterColumn,
        ResourceOptions,
    )
    from pyoperator.objects._owners import (
        AlreadyOwnedError,
        controller_of,
        is_owned_by,
        set_controller_reference,
        set_owner_reference,
    )
    from pyoperator.objects._quantity import Quantity
    from pyoperator.objects._scheme import Scheme, UnknownKindError

__all__ = [
    "BUILTIN_KINDS",
    "AlreadyOwnedError",
    "Codec",
    "Condition",
    "CustomResource",
    "DecodeError",
    "GroupVersionKind",
    "KindArgument",
    "ListMeta",
    "Metadata",
    "Model",
    "ObjectKey",
    "ObjectMeta",
    "OwnerReference",
    "PrinterColumn",
    "Quantity",
    "ResourceKind",
    "ResourceOptions",
    "Scheme",
    "UnknownKindError",
    "Unstructured",
    "add_finalizer",
    "controller_of",
    "find_condition",
    "format_micro_time",
    "format_time",
    "has_finalizer",
    "is_condition_true",
    "is_owned_by",
    "metadata_of",
    "parse_time",
    "partial_metadata",
    "remove_finalizer",
    "set_condition",
    "set_controller_reference",
    "set_owner_reference",
]

# Imported when asked for: what they need takes longer to import than the rest together.
_LAZY = {
    "AlreadyOwnedError": "pyoperator.objects._owners",
    "Codec": "pyoperator.objects._codec",
    "Condition": "pyoperator.objects._conditions",
    "CustomResource": "pyoperator.objects._custom_resource",
    "DecodeError": "pyoperator.objects._codec",
    "KindArgument": "pyoperator.objects._codec",
    "ListMeta": "pyoperator.objects._custom_resource",
    "Model": "pyoperator.objects._custom_resource",
    "ObjectMeta": "pyoperator.objects._custom_resource",
    "PrinterColumn": "pyoperator.objects._custom_resource",
    "Quantity": "pyoperator.objects._quantity",
    "ResourceOptions": "pyoperator.objects._custom_resource",
    "Scheme": "pyoperator.objects._scheme",
    "UnknownKindError": "pyoperator.objects._scheme",
    "controller_of": "pyoperator.objects._owners",
    "find_condition": "pyoperator.objects._conditions",
    "is_condition_true": "pyoperator.objects._conditions",
    "is_owned_by": "pyoperator.objects._owners",
    "set_condition": "pyoperator.objects._conditions",
    "set_controller_reference": "pyoperator.objects._owners",
    "set_owner_reference": "pyoperator.objects._owners",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
