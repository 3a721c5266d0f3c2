"""What a lab needs to know about an operator, read from its ``lab.yaml``."""

from __future__ import annotations

import glob
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from pyoperator.objects import GroupVersionKind, ResourceKind, Unstructured
from pyoperator.testing.lab._errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class LeaseName(_Strict):
    """The Lease that replicas compete for."""

    namespace: str
    name: str


class KindName(_Strict):
    """A kind, as in a manifest."""

    api_version: str
    kind: str

    @property
    def gvk(self) -> GroupVersionKind:
        return GroupVersionKind.of(self.api_version, self.kind)


class CustomKind(KindName):
    """The kind that the operator serves; ``plural`` as in its CRD."""

    plural: str
    namespaced: bool = True

    @property
    def resource(self) -> ResourceKind:
        return ResourceKind(self.gvk, self.plural, self.namespaced)


class ChildKind(KindName):
    """A kind of children; ``names`` maps patterns such as ``{owner}-config`` to the role of a child so named."""

    names: dict[str, str] = Field(min_length=1)

    def owner_and_role(self, name: str) -> tuple[str, str] | None:
        """Return whose child an object of that name is and its role; the longest pattern that fits decides."""
        for pattern, role in sorted(self.names.items(), key=lambda item: -len(item[0])):
            before, _, after = pattern.partition("{owner}")
            if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after):
                return name[len(before) : len(name) - len(after)], role
        return None


class LoadTemplate(_Strict):
    """Objects made for load: a manifest and a merge patch, in which ``{number}`` in any text counts up."""

    object: dict[str, Any]
    change: dict[str, Any]

    def make(self, number: int) -> Unstructured:
        return Unstructured(_numbered(self.object, number))

    def change_to(self, number: int) -> dict[str, Any]:
        return cast("dict[str, Any]", _numbered(self.change, number))


class Project(_Strict):
    """An operator and all that the lab installs for it.

    ``command``: program and fixed arguments; the lab adds kubeconfig, election, bind addresses and log format in
    kubebuilder's flags. Patterns of files may have ``*``; they are relative to the folder of the file.
    ``manager``: the Deployment that the operator has in a cluster, and its disruption budget: the Deployment's pods become
    processes; without it there is a plain one. ``namespace``: of samples and load that name none. ``ready_condition``: the condition that says an object is done.
    ``role_label``: label of children that names their role; ``retained_label``: of those that outlive their owner.
    """

    name: str
    command: tuple[str, ...] = Field(min_length=1)
    lease: LeaseName
    crds: tuple[str, ...] = ()
    rbac: tuple[str, ...] = ()
    manager: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    namespace: str = "default"
    resource: CustomKind
    ready_condition: str = "Ready"
    children: tuple[ChildKind, ...] = ()
    role_label: str = ""
    retained_label: str = ""
    load: LoadTemplate
    folder: Path = Field(default=Path(), exclude=True)

    @classmethod
    def read(cls, path: Path) -> Project:
        """Read a file; raises LabError for one that is missing or does not fit, with the field's name."""
        try:
            document = yaml.safe_load(path.read_text("utf-8"))
        except FileNotFoundError:
            raise LabError(f"there is no project file {path}: give --project FILE, the operator's lab.yaml") from None
        except (OSError, UnicodeDecodeError) as error:
            raise LabError(f"the project file {path} can't be read: {error}") from error
        except yaml.YAMLError as error:
            raise LabError(f"the project file {path} is not YAML: {_one_line(error)}") from error
        if not isinstance(document, dict):
            raise LabError(f"the project file {path} must be a mapping with name, command, lease, resource and load")
        try:
            return cls.model_validate({**document, "folder": path.absolute().parent})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise LabError(f"the project file {path}: {field}: {first['msg']}") from error

    def program(self) -> list[str]:
        """Return the command with the program's full path; raises LabError if it is not installed.

        Looked for beside the Python that runs the lab (its virtual environment) first, then in PATH.
        """
        program, *arguments = self.command
        beside = Path(sys.executable).parent
        found = shutil.which(program, path=str(beside)) or shutil.which(program)
        if found is None:
            raise LabError(
                f"{program} is not installed: {beside / program} does not exist and it is not in PATH; "
                f"install it with: {sys.executable} -m pip install {self.folder}"
            )
        return [found, *arguments]

    def manifests(self, what: str) -> list[Unstructured]:
        """Return the objects of ``crds``, ``rbac``, ``manager`` or ``samples`` in file order; raises LabError."""
        return [Unstructured(document) for path in self._files(what) for document in _documents(path)]

    def _files(self, what: str) -> list[Path]:
        patterns: Sequence[str] = getattr(self, what)
        files: list[Path] = []
        for pattern in patterns:
            found = sorted(glob.glob(str(self.folder / pattern)))
            if not found:
                remedy = "; generate it with: make manifests" if what == "crds" else ""
                raise LabError(f"{what}: no file matches {self.folder / pattern}{remedy}")
            files.extend(Path(name) for name in found)
        return files


def _documents(path: Path) -> list[dict[str, Any]]:
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text("utf-8")) if document]
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{path} can't be read: {error}") from error
    except yaml.YAMLError as error:
        raise LabError(f"{path} is not YAML: {_one_line(error)}") from error
    # kubebuilder's folders hold a kustomization.yaml beside the manifests: it is for kustomize, not for a server.
    documents = [found for found in documents if not _is_for_kustomize(found)]
    for document in documents:
        if not isinstance(document, dict) or not document.get("kind") or not document.get("apiVersion"):
            raise LabError(f"{path} holds something that is no Kubernetes object: it needs apiVersion and kind")
    return documents


def _is_for_kustomize(document: Any) -> bool:
    return isinstance(document, dict) and str(document.get("apiVersion", "")).startswith("kustomize.config.k8s.io/")


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, str):
        return value.replace("{number}", str(number))
    if isinstance(value, dict):
        return {key: _numbered(item, number) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbered(item, number) for item in value]
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
