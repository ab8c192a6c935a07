"""What items of a program hold and read, loops and all that is within them."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.inspect.emit.loops import Item, Loop
from compiler.inspect.emit.statements import Carried, Chosen, Input, Local, Ref, Statement, Weight


def reads(item: Item) -> frozenset[Ref]:
    """All tensors that an item reads, from inside it or outside."""
    if isinstance(item, Statement):
        return frozenset(item.operands)
    chosen = [ref for values in item.columns.values() for ref in values if is_tensor(ref)]
    own = frozenset((*item.initial, *item.final, *chosen, *(ref for _, ref in item.outputs)))
    return own.union(*(reads(each) for each in item.body))


def read_before(loop: Loop) -> frozenset[Ref]:
    """What the turns of a loop read that was there before it: each turn needs it."""
    made: set[Ref] = {Local(s.number, at) for s in statements_of(loop) for at in range(s.results)}
    made |= {Chosen(name) for each in loops_of(loop) for name in each.columns}
    made |= {Carried(each.number, at) for each in loops_of(loop) for at in range(len(each.initial))}
    return frozenset(ref for item in loop.body for ref in reads(item) if ref not in made)


def statements_of(item: Item) -> Iterator[Statement]:
    """All statements of an item, those of loops within it too."""
    if isinstance(item, Statement):
        yield item
    else:
        for each in item.body:
            yield from statements_of(each)


def loops_of(item: Item) -> Iterator[Loop]:
    """The loop that an item is, and those within it."""
    if isinstance(item, Loop):
        yield item
        for each in item.body:
            yield from loops_of(each)


def is_tensor(value: object) -> bool:
    """Whether an entry of a column is a tensor, and no number."""
    return isinstance(value, Weight | Input | Local | Carried | Chosen)
