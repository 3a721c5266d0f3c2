"""Benchmarks: workloads on one kind against any API server, micro-benchmarks, and the comparison with a peer.

``python -m benchmarks`` is the short run of everything; RESULTS.md holds measured figures and how they were obtained.
A benchmark prints figures and ratios, it never passes or fails by a wall time.
"""
