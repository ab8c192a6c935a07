"""The large literals of a graph in a file beside its text, which names them by digest."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save

from compiler.errors import InvalidArgument
from compiler.ir.constants import Literal
from compiler.ir.graph import Graph
from compiler.ir.text import literals
from compiler.output import write_whole


def write_literals(graph: Graph, path: Path) -> None:
    """Write the large literals of a graph as safetensors, each under its digest, whole or not at all.

    Raises ``CompilerError`` where it cannot be written.
    """
    write_whole(path, save({digest: literal.tensor.contiguous() for digest, literal in literals(graph).items()}))


def read_literals(path: Path) -> dict[str, Literal]:
    """Read what :func:`write_literals` wrote. Raises ``InvalidArgument`` for a file that is damaged or holds others."""
    try:
        found = {digest: Literal(tensor) for digest, tensor in load_file(path).items()}
    except Exception as error:  # damage shows up as almost any type
        raise InvalidArgument(f"the literals {str(path)!r} cannot be read: {error}") from error
    if wrong := [digest for digest, literal in found.items() if literal.digest != digest]:
        raise InvalidArgument(f"the literals {str(path)!r} hold other data than their names say: {', '.join(wrong)}")
    return found
