"""Say in a message the options of the command that runs, where it names arguments of Python."""

from __future__ import annotations

import re
from contextvars import ContextVar
from functools import partial
from typing import Any

from compiler.errors import CompilerError

_VALUE = r"=('[^']*'|[^\s:,;)]+)"
"""What stands behind the name of an argument in a message."""
_OPTIONS: ContextVar[dict[str, str]] = ContextVar("options")
"""The long options of the command that runs, by the names that Python has for them."""


def note(command: Any) -> None:
    """Note the command that runs."""
    long = [each for parameter in command.params for each in parameter.opts if each.startswith("--")]
    _OPTIONS.set({each.removeprefix("--").replace("-", "_"): each for each in long})


def spelled(error: CompilerError) -> str:
    """Return the message of ``error`` with ``--weights mixed`` for ``weights='mixed'``.

    Only arguments that the error says it names are looked for, and of these only those that are options of the command:
    what a user wrote stays as it is.
    """
    message, options = str(error), _OPTIONS.get({})
    for name in error.arguments:
        option = options.get(name) or options.get(name.removesuffix("s"))
        if option is not None:
            message = re.sub(rf"(?<![\w-]){name}{_VALUE}", partial(_typed, option), message)
    return message


def _typed(option: str, found: re.Match[str]) -> str:
    """An option with its value; a switch has none."""
    return option if found[1] == "True" else f"{option} {found[1].strip(chr(39))}"
