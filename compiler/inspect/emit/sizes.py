"""Graphs of several sizes as one program, where they say the same but for numbers that follow from the size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from compiler.dialects.ttnn.symbols import Typed
from compiler.inspect.emit.statements import Key, Program, Ref, Weight
from compiler.inspect.emit.trees import Differs, Form, Path, Tree, is_number, same, unify


@dataclass
class Tables:
    """Numbers that are looked up by the size, by the name of the table: value by size. It grows as sizes are joined."""

    variable: str
    sizes: tuple[int, ...]
    tables: dict[str, Mapping[int, int]] = field(default_factory=dict)

    def leaf(self, trees: Sequence[Tree], path: Path) -> Tree:
        """One number for all sizes: a multiple of the size where it is one, else what a table has for it."""
        if not all(is_number(tree) and isinstance(tree, int) for tree in trees):
            raise Differs(f"{'.'.join(path)} is {' and '.join(map(str, trees))}")
        numbers = dict(zip(self.sizes, trees, strict=True))
        times = trees[0] // self.sizes[0]
        if all(number == size * times for size, number in numbers.items()):
            return Form(0).plus(self.variable, times)
        name = path[-1] if path else "number"
        for tried in (name, *(f"{name}_{i}" for i in range(2, 99))):
            if self.tables.setdefault(tried, numbers) == numbers:
                return Typed(tried)
        raise AssertionError("there are no so many tables")


def join(programs: Mapping[int, Program], variable: str) -> tuple[Program, Tables]:
    """One program for all sizes, by the length ``variable``. Raises :class:`Differs` where they have other calls."""
    tables = Tables(variable, tuple(programs))
    several = list(programs.values())
    first = several[0]
    if len({tuple(s.path for s in each.statements) for each in several}) > 1:
        raise Differs(f"the graphs {first.name} of {', '.join(map(str, programs))} have other calls")
    statements = []
    for each in zip(*(program.statements for program in several), strict=True):
        keywords = []
        if len({(s.parameters, tuple(name for name, _ in s.keywords)) for s in each}) > 1:
            raise Differs(f"{each[0].path} has other arguments in graphs {first.name} of several sizes")
        for at, (name, _) in enumerate(each[0].keywords):
            keywords.append((name, unify([s.keywords[at][1] for s in each], tables.leaf, (name,))))
        operands = tuple(_operand([s.operands[at] for s in each], tables) for at in range(len(each[0].operands)))
        statements.append(replace(each[0], operands=operands, keywords=tuple(keywords)))
    if not all(same([program.outputs, first.outputs]) for program in several):
        raise Differs(f"the graphs {first.name} return other results")
    return replace(first, statements=tuple(statements)), tables


def _operand(refs: Sequence[Ref], tables: Tables) -> Ref:
    if all(ref == refs[0] for ref in refs):
        return refs[0]
    keys = [ref.key for ref in refs if isinstance(ref, Weight)]
    if len(keys) < len(refs):
        raise Differs("an operand is another one")
    return Weight(_by_size(keys, tables))


def _by_size(keys: Sequence[Key], tables: Tables) -> Key:
    """Weights that each size has of its own bear it at the end of their names."""
    bare = {key[:-1] for key in keys}
    last = [key[-1] for key in keys]
    if len(bare) > 1 or [str(part) for part in last] != [str(size) for size in tables.sizes]:
        raise Differs(f"weights {keys} are not told apart by their size")
    return (*keys[0][:-1], Form(0, ((tables.variable, 1),)))
