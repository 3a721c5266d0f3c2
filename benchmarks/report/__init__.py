"""RESULTS.md and its plots, written from what runs have measured and from the notes that people have written."""

from benchmarks.report._document import write_report

__all__ = ["write_report"]
