"""Create the application that commands register with."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from compiler import __version__, versions
from compiler.cli.refused import Commands

_SETTINGS: dict[str, Any] = {
    "help": "Compile SpeechT5 text to speech to TTNN graphs, and speak with them.",
    "no_args_is_help": True,
    "cls": Commands,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
# Completion scripts name a program, so `python -m compiler` can have none: see ``completing``.
app = typer.Typer(**_SETTINGS, add_completion=False)


def completing(commands: typer.Typer) -> typer.Typer:
    """The same commands, with ``--install-completion`` and ``--show-completion`` for the shells that typer knows."""
    other = typer.Typer(**_SETTINGS, add_completion=True)
    other.registered_callback = commands.registered_callback
    other.registered_commands = commands.registered_commands
    return other


def _print_versions(asked: bool) -> None:
    if asked:
        typer.echo("\n".join([f"speecht5-ttnn {__version__}", *versions.installed()]))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_versions,
            help="Print the versions of this project, torch, transformers and ttnn.",
        ),
    ] = False,
) -> None:
    """Hold the options that go before a command."""
