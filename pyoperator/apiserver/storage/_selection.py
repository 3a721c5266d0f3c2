"""What a list or watch asks for: a namespace, a name, labels, fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyoperator.apiserver.storage._selectors import FieldSelector, LabelSelector

if TYPE_CHECKING:
    from pyoperator.apiserver.storage._stored_object import StoredObject


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything must match; an empty part matches all."""

    namespace: str = ""
    labels: LabelSelector = field(default_factory=LabelSelector)
    fields: FieldSelector = field(default_factory=FieldSelector)

    def matches(self, stored: StoredObject) -> bool:
        if self.namespace and stored.namespace != self.namespace:
            return False
        if self.labels.requirements and not self.labels.matches(stored.labels):
            return False
        return not self.fields.terms or self.fields.matches(stored.fields)

    @property
    def is_plain(self) -> bool:
        """True when only the namespace restricts: then no remaining-item count is lost on paging."""
        return not self.labels and not self.fields
