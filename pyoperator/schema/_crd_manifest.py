"""From typed resources to the CustomResourceDefinition that serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyoperator.schema._structural_schema import structural_schema

if TYPE_CHECKING:
    from pyoperator.objects import CustomResource, PrinterColumn


def crd_manifest(*models: type[CustomResource]) -> dict[str, Any]:
    """Return the ``apiextensions.k8s.io/v1`` CRD of one kind; each model is one version of it.

    Exactly one model has ``storage=True``, which is the default of a single one. Raises ValueError for models of
    different kinds, versions twice, and no or several storage versions.
    """
    if not models:
        raise ValueError("crd_manifest needs at least one CustomResource class")
    options = [model.options for model in models]
    first = next((entry for entry in options if entry.storage), options[0])
    names = {(entry.resource.gvk.group, entry.resource.gvk.kind, entry.resource.plural) for entry in options}
    if len(names) > 1:
        listed = ", ".join(f"{kind}.{group}" for group, kind, _ in sorted(names))
        raise ValueError(f"one CRD has one kind, these models have several ({listed}): call crd_manifest once per kind")
    if len({entry.resource.namespaced for entry in options}) > 1:
        raise ValueError(f"{first.resource.gvk.kind}: all versions of a kind must be namespaced, or none")
    versions = [entry.resource.gvk.version for entry in options]
    if len(set(versions)) < len(versions):
        raise ValueError(f"{first.resource.gvk.kind}: two models have the same version ({', '.join(versions)})")
    if sum(entry.storage for entry in options) != 1:
        raise ValueError(
            f"{first.resource.gvk.kind}: exactly one version is the one that is stored: "
            "give storage=False to all models but one"
        )
    resource = first.resource
    kind_names: dict[str, Any] = {
        "kind": resource.gvk.kind,
        "listKind": first.list_kind,
        "plural": resource.plural,
        "singular": first.singular,
    }
    if first.short_names:
        kind_names["shortNames"] = list(first.short_names)
    if first.categories:
        kind_names["categories"] = list(first.categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.gvk.group}"},
        "spec": {
            "group": resource.gvk.group,
            "names": kind_names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [_version(model) for model in models],
        },
    }


def _version(model: type[CustomResource]) -> dict[str, Any]:
    options = model.options
    version: dict[str, Any] = {
        "name": options.resource.gvk.version,
        "served": True,
        "storage": options.storage,
    }
    if options.printer_columns:
        version["additionalPrinterColumns"] = [_column(column) for column in options.printer_columns]
    if options.selectable_fields:
        version["selectableFields"] = [{"jsonPath": _path(field)} for field in options.selectable_fields]
    version["schema"] = {"openAPIV3Schema": _root(model)}
    subresources: dict[str, Any] = {}
    if options.status_subresource:
        subresources["status"] = {}
    if options.scale_paths is not None:
        spec, status, selector = options.scale_paths
        subresources["scale"] = {"specReplicasPath": spec, "statusReplicasPath": status}
        if selector:
            subresources["scale"]["labelSelectorPath"] = selector
    if subresources:
        version["subresources"] = subresources
    return version


def _root(model: type[CustomResource]) -> dict[str, Any]:
    schema = structural_schema(model)
    # Every object has these three; their own rules are the server's.
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        **{
            name: entry
            for name, entry in schema.get("properties", {}).items()
            if name not in ("apiVersion", "kind", "metadata")
        },
    }
    return {**schema, "properties": properties}


def _column(column: PrinterColumn) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": _path(column.json_path)}
    if column.description:
        entry["description"] = column.description
    if column.format:
        entry["format"] = column.format
    if column.priority:
        entry["priority"] = column.priority
    return entry


def _path(path: str) -> str:
    return path if path.startswith((".", "[")) else f".{path}"
