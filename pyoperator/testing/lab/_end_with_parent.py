"""Become another program that the kernel kills when the process that started it ends.

Run by path, ``python -I -S _end_with_parent.py PARENT_PID PROGRAM ARGUMENT...``, and therefore without any import of
this package: it replaces itself, so that the process keeps its number and its start stays quick. Linux has
PR_SET_PDEATHSIG, which survives an exec; elsewhere the program is run all the same, and lives on if its parent is
killed by SIGKILL.
"""

import os
import sys

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def main() -> None:
    """Arm the kernel, look whether the parent is still there, and become the program."""
    parent, program, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) != 0:
            sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:  # it ended before the kernel was told: nobody would ever end this process
        sys.exit(1)
    try:
        os.execv(program, arguments)  # noqa: S606  # that there is no shell is the point
    except OSError as error:
        sys.exit(f"{program}: {error.strerror}")


if __name__ == "__main__":
    main()
