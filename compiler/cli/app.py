"""Create the application that commands register with."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Compile SpeechT5 text to speech to TTNN graphs, and speak with them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
