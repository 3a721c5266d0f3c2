"""The public face: every door exports exactly what it imports for that, and importing stays cheap."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import pyoperator

PACKAGE = Path(pyoperator.__file__).parent
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
DOORS = sorted(
    ".".join(("pyoperator", *path.parent.relative_to(PACKAGE).parts)) for path in PACKAGE.rglob("__init__.py")
)

TOP_LEVEL = [
    "AlreadyExists",
    "ApiError",
    "Cache",
    "CacheConfiguration",
    "CacheOptions",
    "CachedClient",
    "Client",
    "Condition",
    "Configuration",
    "ConfigurationError",
    "Conflict",
    "ControllerOptions",
    "CustomResource",
    "ElectionConfig",
    "EnqueueForObject",
    "EnqueueForOwner",
    "EnqueueMapped",
    "EventRecorder",
    "GroupVersionKind",
    "Informer",
    "Invalid",
    "LeaderElector",
    "Leadership",
    "LeadershipLost",
    "Manager",
    "ManagerError",
    "MergePatch",
    "Model",
    "NotFound",
    "ObjectKey",
    "ObjectMeta",
    "Reconciler",
    "Request",
    "Result",
    "Runnable",
    "Scheme",
    "TerminalError",
    "TransportError",
    "Unstructured",
    "__version__",
    "add_finalizer",
    "configure_logging",
    "controller_for",
    "ignore_not_found",
    "is_condition_true",
    "ping",
    "predicates",
    "remove_finalizer",
    "run",
    "set_condition",
    "set_controller_reference",
]

EXPENSIVE = ("kubernetes_asyncio", "aiohttp", "prometheus_client", "cryptography", "rich", "pyoperator.apiserver")


def offered(door: str) -> set[str]:
    """Names that a door imports from inside its room, or defines, and that are not private."""
    source = (PACKAGE.joinpath(*door.split(".")[1:]) / "__init__.py").read_text()
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module == door or str(node.module).startswith(f"{door}.")):
            found.update(alias.asname or alias.name for alias in node.names)
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    imported_for_itself = (found & used) - set(importlib.import_module(door).__all__)
    return {name for name in found - imported_for_itself if not name.startswith("_")}


@pytest.mark.parametrize("door", [door for door in DOORS if door != "pyoperator"])
def test_a_door_exports_what_it_offers_and_nothing_else(door: str) -> None:
    module = importlib.import_module(door)
    exported = list(module.__all__)
    assert len(exported) == len(set(exported)), "a name is exported twice"
    assert set(exported) == offered(door)
    for name in exported:
        assert getattr(module, name) is not None
    assert module.__doc__, "a door says what its room is for"
    with pytest.raises(AttributeError):
        _ = module.no_such_name


def test_the_top_level_exports_exactly_this() -> None:
    assert list(pyoperator.__all__) == sorted(TOP_LEVEL)
    for name in TOP_LEVEL:
        assert getattr(pyoperator, name) is not None
    assert set(TOP_LEVEL) <= set(dir(pyoperator))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pyoperator.nothing


def test_the_type_checker_and_the_interpreter_see_the_same() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    seen = {
        alias.name: str(node.module).removeprefix("pyoperator.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).removeprefix("pyoperator.") in ROOMS
        for alias in node.names
    }
    assert seen == pyoperator._ROOMS


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import pyoperator", ()),
        # A manager on HTTP needs aiohttp in the end, but its server part and Prometheus only when they serve;
        # rich comes with structlog, where it is installed.
        ("from pyoperator import Manager, Client, CustomResource, controller_for, ping", ("rich",)),
    ],
)
def test_importing_is_cheap(code: str, allowed: tuple[str, ...]) -> None:
    check = f"{code}; import sys; print(*sorted(m for m in {EXPENSIVE!r} if m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) <= set(allowed)
