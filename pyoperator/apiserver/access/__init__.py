"""Who may do what: authentication, RBAC, impersonation, reviews and the audit log of the embedded API server.

Part of the core, so that the in-process transport passes it as well as HTTP does. Refusals are raised as the server's
StatusError, worded as kube-apiserver words them.
"""

from pyoperator.apiserver.access._audit import AuditEntry, AuditLog, Sink, Stage
from pyoperator.apiserver.access._authenticator import Authenticator
from pyoperator.apiserver.access._authorizer import (
    Attributes,
    Authorizer,
    Decision,
    aggregated_rules,
    effective_cluster_roles,
)
from pyoperator.apiserver.access._default_roles import default_roles
from pyoperator.apiserver.access._escalation import check_escalation
from pyoperator.apiserver.access._identity import (
    ANONYMOUS,
    ANONYMOUS_NAME,
    AUTHENTICATED,
    MASTERS,
    SYSTEM_USER,
    UNAUTHENTICATED,
    CertificateSubject,
    Credential,
    User,
    service_account_groups,
    service_account_user_name,
)
from pyoperator.apiserver.access._impersonation import impersonated_user
from pyoperator.apiserver.access._refusals import forbidden
from pyoperator.apiserver.access._reviews import REVIEW_KINDS, Reviews
from pyoperator.apiserver.access._rules import PolicyRule
from pyoperator.apiserver.access._service_account_tokens import DEFAULT_ISSUER, ServiceAccountTokens
from pyoperator.apiserver.access._token_file import TokenFile, TokenFileError, parse_tokens

__all__ = [
    "ANONYMOUS",
    "ANONYMOUS_NAME",
    "AUTHENTICATED",
    "DEFAULT_ISSUER",
    "MASTERS",
    "REVIEW_KINDS",
    "SYSTEM_USER",
    "UNAUTHENTICATED",
    "Attributes",
    "AuditEntry",
    "AuditLog",
    "Authenticator",
    "Authorizer",
    "CertificateSubject",
    "Credential",
    "Decision",
    "PolicyRule",
    "Reviews",
    "ServiceAccountTokens",
    "Sink",
    "Stage",
    "TokenFile",
    "TokenFileError",
    "User",
    "aggregated_rules",
    "check_escalation",
    "default_roles",
    "effective_cluster_roles",
    "forbidden",
    "impersonated_user",
    "parse_tokens",
    "service_account_groups",
    "service_account_user_name",
]
