"""Benchmarks: the same workloads for this library and its peers on one API server, targets, plots, a memory gate.

``python -m benchmarks`` measures everything and writes RESULTS.md from the lines it keeps (``--help`` tells how to do less).
A benchmark prints figures and ratios and never passes or fails by a time; the memory gate judges, by memory.
"""
