"""Print to the terminal: results and tables go to stdout, errors and progress to stderr."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from compiler.cli.spelled import spelled
from compiler.errors import CompilerError, InvalidArgument, UnsupportedModel
from compiler.process import INTERRUPTED, interruption, unwritten
from compiler.versions import UnsupportedVersion

if TYPE_CHECKING:
    from rich.console import RenderableType  # a command that shows no table and no progress does without

PIPE_WIDTH = 120
"""Columns of a table that is not printed to a terminal."""


@contextmanager
def refusals() -> Iterator[None]:
    """Turn errors that the user can act on into one line and an exit: 2 for bad arguments, 130 for Ctrl-C, else 1.

    A model that is named and is none that is compiled is a bad argument, too.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise _interrupted() from None
    except typer.Exit:
        raise
    except Exception as error:
        if interruption.noted:  # a native library turned Ctrl-C into another exception
            raise _interrupted() from None
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # the reader closed the pipe: typer exits silently
        if not isinstance(error, CompilerError | UnsupportedVersion | OSError):
            raise
        typer.echo(f"error: {_said(error)}", err=True)
        raise typer.Exit(2 if isinstance(error, InvalidArgument | UnsupportedModel) else 1) from None


def _said(error: Exception) -> str:
    """The message of an error: options for arguments, and which output it was that could not be written."""
    if isinstance(error, CompilerError):
        return spelled(error)
    return unwritten(error) if isinstance(error, OSError) else str(error)


def _interrupted() -> typer.Exit:
    typer.echo("interrupted", err=True)
    return typer.Exit(INTERRUPTED)


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def announced(what: str) -> Iterator[None]:
    """Say on stderr what is being done while Ctrl-C ends the process at once; nothing if stderr is not a terminal."""
    shown = _is_terminal()
    if shown:
        sys.stderr.write(f"{what} ...")
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write("\r\x1b[2K")
            sys.stderr.flush()


@contextmanager
def progress_bar() -> Iterator[Callable[..., None]]:
    """Show a progress bar on stderr until the work is done; nothing if stderr is not a terminal.

    Yields a function that takes a description, and optionally the steps done and the most steps that can come.
    """
    interruption.begin_work()
    if not _is_terminal():
        yield lambda *_: interruption.raise_noted()
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (
        SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None, steps="")

        def show(description: str, step: int = 0, most: int | None = None) -> None:
            interruption.raise_noted()
            steps = f"step {step} of at most {most}" if most else ""
            progress.update(task, description=description, completed=step, total=most, steps=steps)

        yield show


def tables(*shown: RenderableType) -> None:
    """Print tables to stdout, each in several where a terminal has no room for its columns."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from compiler.cli.fitted import fitted  # noqa: PLC0415

    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    for table in shown:
        for part in fitted(table, console.width) if isinstance(table, Table) else (table,):
            console.print(part)
