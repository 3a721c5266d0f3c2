"""Serving HTTP from inside an operator: bind addresses, a small server around aiohttp, certificates that reload.

Health, metrics, webhooks and the embedded API server all listen through this room. What is served is an
``aiohttp.web.Application`` handed in from outside; who may ask is that application's business.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pyoperator.serving._bind_address import BindAddress, BindAddressError

if TYPE_CHECKING:
    from pyoperator.serving._certificates import CertificateError, CertificateStatistics, CertificateWatcher
    from pyoperator.serving._server import BindError, HTTPServer

__all__ = [
    "BindAddress",
    "BindAddressError",
    "BindError",
    "CertificateError",
    "CertificateStatistics",
    "CertificateWatcher",
    "HTTPServer",
]

# Imported when asked for: what they need takes longer to import than the rest together.
_LAZY = {
    "BindError": "pyoperator.serving._server",
    "CertificateError": "pyoperator.serving._certificates",
    "CertificateStatistics": "pyoperator.serving._certificates",
    "CertificateWatcher": "pyoperator.serving._certificates",
    "HTTPServer": "pyoperator.serving._server",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
