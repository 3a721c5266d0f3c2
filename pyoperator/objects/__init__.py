"""What a Kubernetes object is: its kind, its key, its metadata, and the Python shapes it can take.

One :class:`Scheme` knows which class stands for which kind and hands out the :class:`Codec` between the JSON bytes on
the wire and that class; nothing else asks what kind of class an object has.
"""

from pyoperator.objects._builtin_kinds import BUILTIN_KINDS
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
from pyoperator.objects._finalizers import add_finalizer, has_finalizer, remove_finalizer
from pyoperator.objects._kinds import GroupVersionKind, ResourceKind
from pyoperator.objects._metadata import Metadata, ObjectKey, OwnerReference, metadata_of, partial_metadata
from pyoperator.objects._owners import (
    AlreadyOwnedError,
    controller_of,
    is_owned_by,
    set_controller_reference,
    set_owner_reference,
)
from pyoperator.objects._quantity import Quantity
from pyoperator.objects._scheme import Scheme, UnknownKindError
from pyoperator.objects._timestamps import format_micro_time, format_time, parse_time
from pyoperator.objects._unstructured import Unstructured

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
