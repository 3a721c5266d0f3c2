"""Typed resources: a pydantic model per kind that keeps fields it does not know and writes only what was set."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pyoperator.objects._kinds import GroupVersionKind, ResourceKind
from pyoperator.objects._metadata import Metadata, ObjectKey, OwnerReference

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Unpack


class Model(BaseModel):
    """Base of everything inside a custom resource: camelCase on the wire, snake_case in Python, unknown fields kept."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="allow",
        serialize_by_alias=True,
        protected_namespaces=(),
        # Of values the parser would keep the last 16,000 short ones of the process, passwords too: 1 MB, and with many
        # objects it looks in vain and decodes a fifth slower. Keys repeat, and are worth it.
        cache_strings="keys",
    )


_EMPTY = (list, dict, set)


def notice_edits(model: BaseModel) -> None:
    """Count fields as set that were edited in place: ``status.conditions.append(...)`` on a list made by default.

    pydantic notices assignments only, and what does not count as set is not written: the edit would be lost in silence.
    Recursive; a field that equals its default stays unset.
    """
    fields, known = model.__pydantic_fields_set__, type(model).__pydantic_fields__
    for name, value in model.__dict__.items():
        for inner in _models_in(value):
            notice_edits(inner)
        if name in fields or name not in known or not isinstance(value, BaseModel | dict | list | set):
            continue  # what can't be edited in place was assigned, and counts
        field_ = known[name]
        if not value and field_.default_factory in _EMPTY:
            continue  # by far the most frequent case
        if field_.default_factory_takes_validated_data:
            default: Any = None
        else:
            default = field_.get_default(call_default_factory=True)
        if value != default:
            fields.add(name)


def _models_in(value: Any) -> Iterable[BaseModel]:
    if isinstance(value, BaseModel):
        return (value,)
    if isinstance(value, list):
        return (item for item in value if isinstance(item, BaseModel))
    if isinstance(value, dict):
        return (item for item in value.values() if isinstance(item, BaseModel))
    return ()


class OwnerReferenceModel(Model):
    """One entry of ``metadata.ownerReferences`` of a typed resource."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model):
    """``metadata`` of a typed resource; every field is optional, as in a manifest."""

    name: str = ""
    namespace: str = ""
    generate_name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReferenceModel] = Field(default_factory=list)
    finalizers: list[str] = Field(default_factory=list)
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None

    def snapshot(self) -> Metadata:
        """Return the read-only form that the machinery uses."""
        return Metadata(
            name=self.name,
            namespace=self.namespace,
            uid=self.uid,
            resource_version=self.resource_version,
            generation=self.generation,
            labels=dict(self.labels),
            annotations=dict(self.annotations),
            owner_references=tuple(
                OwnerReference(
                    api_version=owner.api_version,
                    kind=owner.kind,
                    name=owner.name,
                    uid=owner.uid,
                    controller=bool(owner.controller),
                    block_owner_deletion=bool(owner.block_owner_deletion),
                )
                for owner in self.owner_references
            ),
            finalizers=tuple(self.finalizers),
            creation_timestamp=self.creation_timestamp,
            deletion_timestamp=self.deletion_timestamp,
            deletion_grace_period_seconds=self.deletion_grace_period_seconds,
            generate_name=self.generate_name,
        )


class ListMeta(Model):
    """``metadata`` of a list."""

    resource_version: str = ""
    continue_: str = Field(default="", alias="continue")
    remaining_item_count: int | None = None


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """One ``additionalPrinterColumns`` entry: a column of ``kubectl get``."""

    name: str
    type: Literal["string", "integer", "number", "boolean", "date"]
    json_path: str
    description: str = ""
    priority: int = 0
    format: str = ""


@dataclass(frozen=True, slots=True)
class ResourceOptions:
    """What a custom resource's class line says about its kind; the CRD generator reads it."""

    resource: ResourceKind
    singular: str
    list_kind: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    printer_columns: tuple[PrinterColumn, ...] = ()
    status_subresource: bool = True
    scale_paths: tuple[str, str, str] | None = None
    storage: bool = True
    selectable_fields: tuple[str, ...] = field(default=())


# What a class line may say of its kind; pydantic's own options (frozen=True, title=...) come beside it.
_OPTIONS: Final = (
    "group", "version", "kind", "plural", "namespaced", "short_names", "categories", "printer_columns",
    "status_subresource", "scale_paths", "storage", "selectable_fields",
)  # fmt: skip


def _unknown_option(name: str, option: str) -> str:
    from difflib import get_close_matches

    spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", option).lower()
    close = get_close_matches(spelled, _OPTIONS, 1)
    remedy = f"did you mean {close[0]}=?" if close else f"it takes {', '.join(_OPTIONS)}, and pydantic's configuration"
    return f"class {name}(CustomResource, {option}=...): there is no such option; {remedy}"


class CustomResource(Model):
    """Base class of a typed kind.

    ``class Postgres(CustomResource, group="database.example.com", version="v1", short_names=("pg",))`` with
    ``spec: PostgresSpec`` and ``status: PostgresStatus | None = None``. The kind defaults to the class name, the plural
    to the lower-cased kind + "s". An option that is not known raises TypeError, and so does a ``status`` without a default:
    an object has none until its controller reports one. ``scale_paths`` = (specReplicasPath, statusReplicasPath, labelSelectorPath or "").

    Unknown fields are kept. Written is what was set (explicitly, by an edit in place, or by the server), never a default.
    """

    options: ClassVar[ResourceOptions]

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)

    if TYPE_CHECKING:
        # For editors, and for type checkers that look at a class line's options in spite of pydantic's metaclass.
        def __init_subclass__(
            cls,
            *,
            group: str = ...,
            version: str = ...,
            kind: str = ...,
            plural: str = ...,
            namespaced: bool = ...,
            short_names: Sequence[str] = ...,
            categories: Sequence[str] = ...,
            printer_columns: Sequence[PrinterColumn] = ...,
            status_subresource: bool = ...,
            scale_paths: tuple[str, str, str] | None = ...,
            storage: bool = ...,
            selectable_fields: Sequence[str] = ...,
            **config: Unpack[ConfigDict],
        ) -> None: ...
    else:

        def __init_subclass__(cls, **options: Any) -> None:
            # pydantic hands the class line's options to both hooks; the one below reads them, with the fields known.
            super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        group: str = "",
        version: str = "",
        kind: str = "",
        plural: str = "",
        namespaced: bool = True,
        short_names: Sequence[str] = (),
        categories: Sequence[str] = (),
        printer_columns: Sequence[PrinterColumn] = (),
        status_subresource: bool = True,
        scale_paths: tuple[str, str, str] | None = None,
        storage: bool = True,
        selectable_fields: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise TypeError(_unknown_option(cls.__name__, next(iter(kwargs))))
        super().__pydantic_init_subclass__()
        status = cls.__pydantic_fields__.get("status")
        if status is not None and status.is_required():
            raise TypeError(
                f"{cls.__name__}.status must have a default, for an object has none until its controller reports one: write "
                f"status: ... | None = None, or = Field(default_factory=...)"
            )
        if not group and not version:
            if not hasattr(cls, "options"):
                raise TypeError(
                    f"{cls.__name__} is a CustomResource without a kind: write "
                    f'class {cls.__name__}(CustomResource, group="example.com", version="v1")'
                )
            return  # a subclass that refines a model keeps its parent's kind
        if not group or not version:
            raise TypeError(f"{cls.__name__}: a custom resource needs both group= and version=")
        name = kind or cls.__name__
        singular = name.lower()
        cls.options = ResourceOptions(
            resource=ResourceKind(GroupVersionKind(group, version, name), plural or f"{singular}s", namespaced),
            singular=singular,
            list_kind=f"{name}List",
            short_names=tuple(short_names),
            categories=tuple(categories),
            printer_columns=tuple(printer_columns),
            status_subresource=status_subresource,
            scale_paths=scale_paths,
            storage=storage,
            selectable_fields=tuple(selectable_fields),
        )

    @property
    def gvk(self) -> GroupVersionKind:
        return self.options.resource.gvk

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.metadata.namespace, self.metadata.name)

    def __repr__(self) -> str:
        # Never the contents: reprs end in logs, and a spec may hold what should not be there.
        return f"<{self.gvk.kind} {self.key} rv={self.metadata.resource_version or '-'}>"

    __str__ = __repr__
