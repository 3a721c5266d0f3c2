"""Eviction: a kind that is only ever a request's body, never served or stored by itself."""

from __future__ import annotations

from typing import Final

from pyoperator.apiserver.registry._builtin import builtin_kind
from pyoperator.apiserver.registry._kind_table import Row

EVICTION: Final = builtin_kind(Row(group="policy", version="v1", kind="Eviction", plural="evictions", verbs="create"))
