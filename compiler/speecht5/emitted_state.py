"""Tables of an emitted script: of what the decoder's steps keep, by name, layers on one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from compiler.ir.graph import Role
from compiler.runtime.executable import Executable


def entries(texts: Mapping[str, str]) -> list[str]:
    """Lines of a dictionary; names that differ by the number of a layer on one line."""
    return [
        f'"{name}": {text},' if count == 0 else f'**{{f"{name}": {text} for i in range({count})}},'
        for name, text, count in _grouped(texts)
    ]


def items(names: Sequence[str]) -> list[str]:
    """Lines of a tuple of names, layers on one line."""
    return [
        f'"{name}",' if count == 0 else f'*(f"{name}" for i in range({count})),'
        for name, _, count in _grouped(dict.fromkeys(names, ""))
    ]


def _grouped(texts: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """Names with their texts, and how many layers have such a name; zero where it is no layer's."""
    patterns: dict[tuple[str, str], list[int]] = {}
    for name, text in texts.items():
        parts = re.split(r"(?<=layers\.)(\d+)(?=\.)", name, maxsplit=1)
        key = (name, text) if len(parts) == 1 else (f"{parts[0]}{{i}}{parts[2]}", text)
        patterns.setdefault(key, []).append(-1 if len(parts) == 1 else int(parts[1]))
    for (name, text), numbers in patterns.items():
        if numbers == [-1]:
            yield name, text, 0
        elif numbers == [*range(len(numbers))]:
            yield name, text, len(numbers)
        else:
            yield from ((name.replace("{i}", str(number)), text, 0) for number in numbers)


def shape_of(name: str, step: Mapping[int, Executable]) -> str:
    """The shape of a port, with ``"steps"`` for the room that its caches have."""
    shapes = {size: each.graph.input(name).type.shape for size, each in step.items()}
    first = next(iter(shapes.values()))
    grows = [all(shape[at] == size for size, shape in shapes.items()) for at in range(len(first))]
    typed = ('"steps"' if grows[at] and _counts(name, step) else str(number) for at, number in enumerate(first))
    return f"[{', '.join(typed)}]"


def _counts(name: str, step: Mapping[int, Executable]) -> bool:
    """Whether a port's shape counts steps, which one size alone does not show."""
    role = next(port.role for port in next(iter(step.values())).graph.inputs if port.name == name)
    return Role.GROWS in role or name == "dropout_rows"
