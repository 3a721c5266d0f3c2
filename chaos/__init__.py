"""Break real replicas of the postgres-operator in every way that docs/high-availability.md names, and judge them.

``python -m chaos`` (``make chaos``) runs the faults and writes docs/ha-report.md; see ``--help``. Nothing here is part
of the package: it needs this repository's operator, and for its shorter part a real kube-apiserver.
"""
