"""What makes a lab impossible or ends it early."""

from __future__ import annotations


class LabError(Exception):
    """The lab can't go on: one line that says what is wrong and what to do."""
