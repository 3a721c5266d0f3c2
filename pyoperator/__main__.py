"""``python -m pyoperator``: the ``pyoperator`` command."""

from pyoperator.cli import main

if __name__ == "__main__":
    main(prog_name="pyoperator")
