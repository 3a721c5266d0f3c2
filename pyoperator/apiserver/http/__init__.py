"""The HTTP(S) face: bytes and credentials in, the core's answers out; certificates and a kubeconfig around it."""

from pyoperator.apiserver.http._certificates import CertificateAuthority
from pyoperator.apiserver.http._embedded import EmbeddedServer, EmbeddedServerError
from pyoperator.apiserver.http._face import HTTPFace
from pyoperator.apiserver.http._kubeconfig import KubeconfigError, write_kubeconfig

__all__ = [
    "CertificateAuthority",
    "EmbeddedServer",
    "EmbeddedServerError",
    "HTTPFace",
    "KubeconfigError",
    "write_kubeconfig",
]
