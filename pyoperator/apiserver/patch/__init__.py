"""Patches: from the current object and a body of some patch format to the wanted object."""

from pyoperator.apiserver.patch._apply_patch import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, apply_patch
from pyoperator.apiserver.patch._errors import PatchError
from pyoperator.apiserver.patch._json_patch import json_patch
from pyoperator.apiserver.patch._merge_patch import merge_patch
from pyoperator.apiserver.patch._strategic import strategic_merge

__all__ = [
    "JSON_PATCH",
    "MERGE_PATCH",
    "STRATEGIC_PATCH",
    "PatchError",
    "apply_patch",
    "json_patch",
    "merge_patch",
    "strategic_merge",
]
