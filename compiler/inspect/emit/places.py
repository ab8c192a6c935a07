"""Where weights and inputs go, and the table of a script that says so, with what was folded into each weight."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch

from compiler.dialects.ttnn.call import host_tensor
from compiler.dialects.ttnn.memory_configs import DTYPES, memory_config
from compiler.dialects.ttnn.symbols import WIDTH, typed
from compiler.inspect.emit.definitions import TILES, Definitions
from compiler.inspect.emit.names import Weights
from compiler.inspect.emit.statements import Key, Statement, Weight
from compiler.inspect.emit.trees import Form, shown
from compiler.ir.types import DType, Layout, Memory, TensorType

_IN_TILES = TensorType((1, 1), DType.BFLOAT16, Layout.TILE, Memory.DRAM)


def table_of(
    name: str, statements: Sequence[Statement], weights: Weights, definitions: Definitions
) -> tuple[str, list[str]]:
    """Where most weights of some statements go; and lines that say of weights what was folded into them.

    The table ``name`` of those that go elsewhere is behind these, if there are any.
    """
    prepared = {ref.key for s in statements if s.prepared for ref in _weights(s)}
    named, places = _patterns(statements, weights), {}
    for pattern, weight in named.items():
        places[pattern] = place(weights.types[weight], definitions, any(_matches(key, weight) for key in prepared))
    common = Counter(places.values()).most_common(1)[0][0]
    folded = [
        f"# {line}"
        for pattern, weight in named.items()
        if weight in weights.folds
        for line in _wrapped(f"{pattern}: {_summary(weights.folds[weight], pattern)}")
    ]
    lines = [line for pattern, where in places.items() if where != common for line in _entry(pattern, where)]
    return common, [*folded, *([f"{name} = {{", *lines, "}"] if lines else [])]


def _summary(fold: str, pattern: str) -> str:
    """A formula without changes of shape; names of parameters are left as short as they can be told apart."""
    text = re.sub(r"\.(view|permute|expand|unsqueeze|squeeze)\([^()]*\)", "", fold)

    def short(name: re.Match[str]) -> str:
        parts = name[0].removesuffix(".T").split(".")
        counted = "layers" in parts and "*" not in pattern
        return ".".join(parts[parts.index("layers") :] if counted else parts[-2:]) + ".T" * name[0].endswith(".T")

    return re.sub(r"[A-Za-z_]\w*(?:\.\w+)+(?![\w(])", short, text)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH - 2, max_lines=2, placeholder=" ...", subsequent_indent="    ")


def _entry(pattern: str, where: str) -> list[str]:
    line = f'    "{pattern}": {where},'
    if len(line) <= WIDTH:
        return [line]
    return [f'    "{pattern}": (', *(f"        {part}," for part in where[1:-1].split(", ", 2)), "    ),"]


def _weights(statement: Statement) -> Iterator[Weight]:
    return (ref for ref in statement.operands if isinstance(ref, Weight))


def _patterns(statements: Sequence[Statement], weights: Weights) -> dict[str, str]:
    """Names of weights with ``*`` for what counts, in the order in which they are read: the first weight of each."""
    found: dict[str, str] = {}
    for ref in (ref for statement in statements for ref in _weights(statement)):
        pattern = ".".join("*" if isinstance(p, Form) and p.terms else str(p) for p in ref.key)
        first = next(name for name in weights.tensors if _matches(ref.key, name))
        if not any(fnmatch(pattern, known) for known in found):
            found[pattern] = first
    return found


def _matches(key: Key, name: str) -> bool:
    parts = name.split(".")
    if len(parts) != len(key):
        return False
    return all(
        part.isdigit() if isinstance(own, Form) and own.terms else str(own) == part
        for own, part in zip(key, parts, strict=True)
    )


def place(type: TensorType, definitions: Definitions, prepared: bool = False) -> str:
    """Type where a tensor goes: element type, layout and memory, or ``HOST``; ``prepared``: as convolutions take it."""
    if prepared:
        dtype = DType.FLOAT32 if type.dtype is DType.BFLOAT8_B else type.dtype
        return f"({DTYPES[dtype].path}, None, None)"
    if type.memory is Memory.HOST:
        return "HOST"
    if (type.dtype, type.layout, type.memory) == (_IN_TILES.dtype, _IN_TILES.layout, _IN_TILES.memory):
        return TILES
    how = host_tensor(type)
    where = shown(definitions.short(memory_config(type, definitions.device)))
    return f"({how.dtype.path}, {how.layout.path if how.layout else None}, {typed(where)})"
