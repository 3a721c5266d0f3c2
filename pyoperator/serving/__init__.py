"""Serving HTTP from inside an operator: bind addresses, a small server around aiohttp, certificates that reload.

Health, metrics, webhooks and the embedded API server all listen through this room. What is served is an
``aiohttp.web.Application`` handed in from outside; who may ask is that application's business.
"""

from pyoperator.serving._bind_address import BindAddress, BindAddressError
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
