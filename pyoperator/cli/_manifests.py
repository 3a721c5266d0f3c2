"""``pyoperator manifests``: write the CRDs of typed resources as YAML, or check that the files are up to date."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyoperator.objects import CustomResource

DEFAULT_DIRECTORY = Path("config/crd/bases")


@click.command("manifests", short_help="Write the CRDs of typed resources as YAML.")
@click.argument("sources", nargs=-1, required=True, metavar="PACKAGE.MODULE[:CLASS]...")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Directory of the files <group>_<plural>.yaml.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is missing or differs.")
def manifests(sources: tuple[str, ...], output_dir: Path, check: bool) -> None:
    """Import typed resources and write one CustomResourceDefinition per kind.

    A module stands for all CustomResource classes in it; several versions of a kind become one CRD, which is checked as an API
    server would. Exit codes: 0 done, 1 --check found a difference, 2 a source can't be used or a file not be written; then
    nothing is written.
    """
    written = render(_load(sources))
    drifted = [name for name, text in written.items() if _read(output_dir / name) != text]
    if check:
        for name in drifted:
            click.echo(f"{output_dir / name} is out of date: run pyoperator manifests {' '.join(sources)}", err=True)
        sys.exit(1 if drifted else 0)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for name in drifted:
            (output_dir / name).write_text(written[name], encoding="utf-8")
    except OSError as error:
        raise click.UsageError(
            f"{error.filename} can't be written ({error.strerror}): make it writable, or give another --output-dir"
        ) from error
    for name in written:
        click.echo(f"{output_dir / name} {'written' if name in drifted else 'unchanged'}")


def render(models: Iterable[type[CustomResource]]) -> dict[str, str]:
    """Return file name -> YAML for the kinds of the models; raises click.UsageError for models that have no CRD."""
    from pyoperator.apiserver.registry import crd_faults
    from pyoperator.schema import StructuralSchemaError, crd_manifest

    kinds: dict[tuple[str, str], list[type[CustomResource]]] = {}
    for model in models:
        resource = model.options.resource
        kinds.setdefault((resource.gvk.group, resource.plural), []).append(model)
    files: dict[str, str] = {}
    for (group, plural), versions in sorted(kinds.items()):
        try:
            crd = crd_manifest(*versions)
        except (StructuralSchemaError, ValueError) as error:
            raise click.UsageError(str(error)) from error
        faults = crd_faults(crd)
        if faults:
            told = "".join(f"\n  {fault}" for fault in faults)
            classes = ", ".join(f"{model.__module__}.{model.__qualname__}" for model in versions)
            raise click.UsageError(f"no API server would take the CRD of {classes}:{told}")
        files[f"{group}_{plural}.yaml"] = "---\n" + yaml.safe_dump(crd, sort_keys=False, allow_unicode=True, width=120)
    return files


def _load(sources: tuple[str, ...]) -> list[type[CustomResource]]:
    from pyoperator.objects import CustomResource

    sys.path.insert(0, os.getcwd())
    found: dict[type[CustomResource], None] = {}
    try:
        for source in sources:
            for model in _classes(source, CustomResource):
                found[model] = None
    finally:
        sys.path.pop(0)
    return [*found]


def _classes(source: str, base: Any) -> list[Any]:
    module_name, _, class_name = source.partition(":")
    module = _import(module_name)
    if class_name:
        model = getattr(module, class_name, None)
        if not _is_kind(model, base):
            raise click.UsageError(f"{source} is not a CustomResource class with a group and a version")
        return [model]
    models = [value for value in vars(module).values() if _is_kind(value, base)]
    if not models:
        raise click.UsageError(f"{module_name} has no CustomResource classes: name the module that defines them")
    return models


def _import(name: str) -> Any:
    if name.endswith(".py") or os.sep in name:
        path = Path(name)
        parts = path.with_suffix("").parts if not path.is_absolute() else (path.stem,)
        dotted = ".".join(part for part in parts if part not in {".", ".."})
        raise click.UsageError(
            f"{name} is a path: name the module as in a Python import, installed or below the current directory "
            f"(pyoperator manifests {dotted})"
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise click.UsageError(
                f"{name} can't be imported ({error}): give a module as in a Python import, installed or below the "
                "current directory"
            ) from error
        raise click.UsageError(_raised(name, error)) from error
    except (Exception, SystemExit) as error:
        raise click.UsageError(_raised(name, error)) from error


def _raised(name: str, error: BaseException) -> str:
    """Say what a module's own code raised while it was imported, and where."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        # The last line below the current directory, where the user's own code is, rather than of what that called.
        own = [frame for frame in frames if frame.filename.startswith(os.getcwd() + os.sep)]
        place = "{0.filename}, line {0.lineno}".format((own or frames)[-1])
    text = str(error) or repr(error)
    return f"{name} raised {type(error).__name__} while it was imported ({place}): {text}"


def _is_kind(value: Any, base: Any) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value is not base and hasattr(value, "options")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} can't be read ({error}): move it away, or give another --output-dir") from error
