"""The options that requests share, as typed keyword sets, and the queries they become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

FieldValidation: TypeAlias = Literal["Ignore", "Warn", "Strict"]
PropagationPolicy: TypeAlias = Literal["", "Orphan", "Background", "Foreground"]
LabelSelector: TypeAlias = "str | Mapping[str, str]"


class ReadOptions(TypedDict, total=False):
    """``timeout``: seconds for the whole request, retries included (default 30)."""

    timeout: float


class CollectionOptions(ReadOptions, total=False):
    """Which objects of a collection: those of one namespace ("": of all) that match both selectors."""

    namespace: str
    label_selector: LabelSelector
    field_selector: str


class ListOptions(CollectionOptions, total=False):
    """Options of a list: at most ``limit`` objects, from where ``continue_`` says, of which version."""

    limit: int
    continue_: str
    resource_version: str
    resource_version_match: str


class PageOptions(CollectionOptions, total=False):
    """Options of a list that is read in pages; ``timeout`` is per page."""

    page_size: int


class WatchOptions(TypedDict, total=False):
    """Options of a watch: what of the collection, since which version, and when to give up (seconds)."""

    namespace: str
    label_selector: LabelSelector
    field_selector: str
    resource_version: str
    timeout_seconds: int | None
    idle_timeout: float | None
    connect_timeout: float


class WriteOptions(TypedDict, total=False):
    """Options of every write.

    ``dry_run``: the server does everything but store. ``field_manager``: who owns the fields (default: the client's).
    ``field_validation``: what the server does about unknown fields. ``timeout``: seconds, retries included.
    """

    dry_run: bool
    field_manager: str
    field_validation: FieldValidation
    timeout: float


class DeleteOptions(TypedDict, total=False):
    """Options of a delete; ``grace_period_seconds`` 0 is at once, None the kind's own default."""

    dry_run: bool
    propagation_policy: PropagationPolicy
    grace_period_seconds: int | None
    timeout: float


def check_options(options: Mapping[str, Any], kind: Any) -> None:
    """Raise TypeError for an option that ``kind`` (one of the typed dicts here) does not have.

    A type checker sees a misspelled option. At run time it would be ignored, and a dry run would be none.
    """
    unknown = options.keys() - kind.__optional_keys__
    if unknown:
        known = ", ".join(sorted(kind.__optional_keys__))
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}: there are {known}")


def timeout_of(options: ReadOptions, default: float) -> float:
    """Return the timeout of a read; raises TypeError for any other option."""
    if not options:
        return default
    check_options(options, ReadOptions)
    return options["timeout"]


def write_query(options: WriteOptions, field_manager: str) -> list[tuple[str, str]]:
    """Render the options of a write; ``field_manager`` is the client's default. Raises TypeError for unknown ones."""
    if options:
        check_options(options, WriteOptions)
    query: list[tuple[str, str]] = []
    if options.get("dry_run"):
        query.append(("dryRun", "All"))
    manager = options.get("field_manager") or field_manager
    if manager:
        query.append(("fieldManager", manager))
    validation = options.get("field_validation")
    if validation:
        query.append(("fieldValidation", validation))
    return query


def render_label_selector(selector: LabelSelector) -> str:
    """Accept a selector's text, or a mapping of labels that must all match."""
    if isinstance(selector, str):
        return selector
    return ",".join(f"{name}={value}" for name, value in selector.items())


def list_query(
    *,
    label_selector: LabelSelector = "",
    field_selector: str = "",
    limit: int = 0,
    continue_: str = "",
    resource_version: str = "",
    resource_version_match: str = "",
) -> list[tuple[str, str]]:
    """Render what lists and watches share; empty values are left out."""
    pairs = [
        ("labelSelector", render_label_selector(label_selector)),
        ("fieldSelector", field_selector),
        ("limit", str(limit) if limit else ""),
        ("continue", continue_),
        ("resourceVersion", resource_version),
        ("resourceVersionMatch", resource_version_match),
    ]
    return [(name, value) for name, value in pairs if value]
