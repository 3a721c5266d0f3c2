"""The answers of a request that access control refuses, worded as kube-apiserver words them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyoperator.apiserver._status import StatusError
from pyoperator.apiserver._status import forbidden as forbidden_status

if TYPE_CHECKING:
    from pyoperator.apiserver.access._authorizer import Attributes
    from pyoperator.apiserver.access._identity import User


def forbidden(user: User, attributes: Attributes, reason: str = "") -> StatusError:
    """403: who cannot do what, and where; ``reason`` (which role could not be resolved, say) is appended."""
    tail = f": {reason}" if reason else ""
    if not attributes.resource:
        return forbidden_status(
            "", "", "", f'User "{user.name}" cannot {attributes.verb} path "{attributes.path}"{tail}'
        )
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    return forbidden_status(
        attributes.group,
        attributes.resource,
        attributes.name,
        f'User "{user.name}" cannot {attributes.verb} resource "{resource}" '
        f'in API group "{attributes.group}" {where}{tail}',
    )
