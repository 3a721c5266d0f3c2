"""An operator for PostgreSQL, written against the public names of pyoperator only.

One file per concern: ``api`` is the kind that users write, ``children`` what is built from it (pure functions),
``ensure`` writes a child only when it differs, ``reconciler`` is the loop's body, ``main`` the command line.
"""
