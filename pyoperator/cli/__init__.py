"""The ``pyoperator`` command: a table of subcommands, each imported when it is used."""

from __future__ import annotations

import importlib

import click

from pyoperator._version import __version__

__all__ = ["main"]

# Name -> module with a click command of the same name (dashes as underscores), and its line in --help.
_COMMANDS: dict[str, tuple[str, str]] = {
    "apiserver": ("pyoperator.cli._apiserver", "Run the embedded Kubernetes API server."),
    "lab": ("pyoperator.cli._lab", "Run an operator's replicas on the embedded API server: watch them, break them."),
    "manifests": ("pyoperator.cli._manifests", "Write the CRDs of typed resources as YAML."),
}


class _LazyGroup(click.Group):
    """A group that knows its commands' names and first lines without importing them: ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry[0]), cmd_name.replace("-", "_"))
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry[0]}.{cmd_name} is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in sorted(_COMMANDS.items())])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pyoperator")
def main() -> None:
    """Build, run and test Kubernetes operators."""
