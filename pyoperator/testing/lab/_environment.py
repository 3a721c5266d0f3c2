"""The environment that the lab's processes see: nothing of the caller's cluster, nothing of its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Taken over: finding programs and modules, language, and what measures coverage. Everything else, KUBECONFIG,
# KUBERNETES_SERVICE_HOST, POD_NAME, proxies and the operators' own twins of flags among it, stays outside: a list of
# what to drop would miss the variable that nobody thought of.
_KEPT: Final = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "TERM", "NO_COLOR", "VIRTUAL_ENV", "LD_LIBRARY_PATH"})
_KEPT_PREFIXES: Final = ("LC_", "PYTHON", "COVERAGE_", "COV_CORE_")


def clean_environment(environ: Mapping[str, str], home: Path, **added: str) -> dict[str, str]:
    """Return what of ``environ`` a child may see, with ``home`` as HOME and for temporary files, and ``added``."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    # A child's buffered line would come after the event that it tells of.
    return {**kept, "HOME": str(home), "TMPDIR": str(home), "PYTHONUNBUFFERED": "1", **added}
