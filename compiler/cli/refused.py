"""Say in our own words what a value on the command line is refused for.

typer has values checked by pydantic, whose words are for programmers (``Input should be a valid integer, unable to
parse string as an integer``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from compiler.choices import advice
from compiler.cli import spelled


class Commands(TyperGroup):
    """The commands, with errors that say what was expected and what came."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, and note its options for the messages of its refusals."""
        name, command, rest = super().resolve_command(ctx, args)
        spelled.note(command)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named. Raises ``typer.BadParameter`` for a value that an option does not take."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            found = getattr(error.__cause__, "errors", None)  # of pydantic's ValidationError
            if found is None:
                raise
            raise typer.BadParameter(_said(error.param, found()[0]), error.ctx, error.param) from None


def _said(parameter: Any, error: Mapping[str, Any]) -> str:
    given, bounds = error["input"], error.get("ctx", {})
    if choices := parameter.type_descriptor.choices:
        return f"{given!r} is not known: {advice(given, map(str, choices))}"
    expected = {
        "int": "a whole number is expected",
        "float": "a number is expected",
        "bool": "true or false is expected",
        "greater_than_equal": f"at least {bounds.get('ge')} is expected",
        "less_than_equal": f"at most {bounds.get('le')} is expected",
    }
    kind = str(error["type"])
    words = expected.get(kind) or expected.get(kind.split("_", maxsplit=1)[0])
    return f"{words}, got {given!r}" if words else f"{given!r} is not taken"
