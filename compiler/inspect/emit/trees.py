"""Arguments of calls as trees: what they have in common, and the numbers in which they differ.

A tree is an argument of :mod:`compiler.dialects.ttnn.symbols`, in which a whole number may be a :class:`Form` and
anything a :class:`Typed` piece of text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compiler.dialects.ttnn.symbols import Made, Named, Typed, typed

Tree = Any
"""An argument, a :class:`Form` or a :class:`Typed`."""
Path = tuple[str, ...]
"""Where in a call a tree is: names of keywords, and of parameters that are given by position."""
POSITIONS = {
    "ttnn.CoreCoord": ("x", "y"),
    "leaky_relu": ("slope",),
    "height_sharded": ("cores", "rows", "columns"),
    "width_sharded": ("cores", "rows", "columns"),
}
"""Names of what some constructors are given by position."""
SHORT = {
    "input_tensor": "x",
    "input_tensor_a": "a",
    "input_tensor_b": "b",
    "input_tensor_q": "q",
    "input_tensor_k": "k",
    "input_tensor_v": "v",
    "attn_mask": "mask",
    "residual_input_tensor": "residual",
    "memory_config": "memory",
    "out_channels": "channels",
    "act_block_h_override": "act_block_h",
    "fused_activation": "activation",
    "input_tensor_b_activations": "b_activations",
    "cache_tensor1": "cache_1",
    "cache_tensor2": "cache_2",
    "input_tensor1": "new_1",
    "input_tensor2": "new_2",
    "physical_update_idxs_tensor": "index",
    "logical_shape": "shape",
    "padded_shape": "padded",
}
"""What a script calls parameters of ttnn that have longer names."""


MEMORIES = ("L1", "DRAM")
"""Where results go, in which the last layer may differ from the others."""


class Differs(Exception):
    """Trees have different structures, so that no one expression says all of them."""


@dataclass(frozen=True, slots=True)
class Form:
    """A whole number that is linear in counters of loops and in lengths: ``constant`` plus multiples of variables."""

    constant: int
    terms: tuple[tuple[str, int], ...] = ()

    def plus(self, variable: str, times: int) -> Form:
        """Add a multiple of a variable."""
        return Form(self.constant, (*self.terms, (variable, times))) if times else self

    def __str__(self) -> str:
        parts = [name if times == 1 else f"{times} * {name}" for name, times in self.terms]
        if self.constant or not parts:
            parts.append(str(self.constant))
        return " + ".join(parts).replace("+ -", "- ")


@dataclass(frozen=True, slots=True)
class Size:
    """A size that a call is told of one of its own tensors: which parameter's, and along which axis."""

    parameter: str
    axis: int


@dataclass(frozen=True, slots=True)
class Same:
    """The padding that leaves a length as it is; ``place`` among those of several axes, None where there is one."""

    place: int | None = None


def resolved(keywords: Sequence[tuple[str, Tree]], tensors: Mapping[str, str]) -> list[tuple[str, Tree]]:
    """Arguments of one call with sizes and paddings written out; ``tensors`` has texts by parameter."""
    given = dict(keywords)

    def at(name: str, place: int | None) -> Tree:
        return given[name] if place is None else given[name][place]

    def change(tree: Tree) -> Tree:
        match tree:
            case Size(parameter, axis):
                return Typed(f"{tensors[parameter]}.shape[{axis}]")
            case Same(place):
                return _same_padding(at("kernel_size", place), at("dilation", place))
            case _:
                return tree

    return [(name, rewritten(value, change)) for name, value in keywords]


def follows_from_others(tree: Tree) -> bool:
    """Whether a tree has a size or a padding that other arguments of its call say."""
    return isinstance(tree, Size | Same) or (isinstance(tree, tuple) and any(map(follows_from_others, tree)))


def _same_padding(kernel: Tree, dilation: Tree) -> Tree:
    if isinstance(kernel, int) and isinstance(dilation, int):
        return dilation * (kernel - 1) // 2
    inner = f"({typed(shown(kernel))} - 1) // 2"
    spread = typed(shown(dilation))
    return Typed(
        inner if spread == "1" else f"{spread} * {inner}" if spread.isidentifier() else f"({spread}) * {inner}"
    )


def is_number(tree: Tree) -> bool:
    """Whether a tree is a whole number, known or linear in variables."""
    return isinstance(tree, Form) or (isinstance(tree, int) and not isinstance(tree, bool))


def form(tree: int | Form) -> Form:
    """Write a whole number as a form."""
    return tree if isinstance(tree, Form) else Form(tree)


def plain(number: Form) -> int | Form:
    """Write a form without variables as the number that it is."""
    return number if number.terms else number.constant


def same(trees: Sequence[Tree]) -> bool:
    """Whether all trees are equal, 1 and 1.0 and True told apart."""
    first = repr(trees[0])
    return all(repr(tree) == first for tree in trees)


Leaf = Callable[[Sequence[Tree], Path], Tree]
"""Makes one tree of several that differ, or raises :class:`Differs`."""


def unify(trees: Sequence[Tree], leaf: Leaf, path: Path = (), whole: Callable[[Path], bool] | None = None) -> Tree:
    """Return the tree that says all ``trees``, with what ``leaf`` makes where they differ.

    Constructors with the same arguments and lists of one length are descended into, but for what ``whole`` says is to
    be handed to ``leaf`` as it is.
    """
    if same(trees):
        return trees[0]
    first = trees[0]
    if whole is not None and whole(path):
        return leaf(trees, path)
    if all(isinstance(tree, Made) for tree in trees) and len({_shape(tree) for tree in trees}) == 1:
        names = POSITIONS.get(first.path, ())
        given = [
            unify([tree.positional[at] for tree in trees], leaf, (*path, *names[at : at + 1]), whole)
            for at in range(len(first.positional))
        ]
        keywords = [
            (name, unify([tree.keywords[at][1] for tree in trees], leaf, (*path, name), whole))
            for at, (name, _) in enumerate(first.keywords)
        ]
        return Made(first.path, tuple(given), tuple(keywords))
    if all(isinstance(tree, tuple) for tree in trees) and len({len(tree) for tree in trees}) == 1:
        return tuple(unify([tree[at] for tree in trees], leaf, path, whole) for at in range(len(first)))
    return leaf(trees, path)


def _shape(made: Made) -> tuple[object, ...]:
    return made.path, len(made.positional), tuple(name for name, _ in made.keywords)


def skeleton(tree: Tree) -> object:
    """What a tree is but for its numbers: equal for trees that a loop may tell apart by its counter."""
    match tree:
        case Form() | Typed() | float() | int() if not isinstance(tree, bool):
            return "#"
        case Named(path) if path in MEMORIES:
            return "memory"
        case Made(path, positional, keywords):
            given = tuple((name, skeleton(value)) for name, value in keywords)
            return (path, tuple(map(skeleton, positional)), given)
        case tuple():
            return tuple(map(skeleton, tree))
        case _:
            return repr(tree)


def rewritten(tree: Tree, change: Callable[[Tree], Tree]) -> Tree:
    """Return a tree with each of its parts changed, from the leaves up."""
    match tree:
        case Made(path, positional, keywords):
            given = tuple(rewritten(value, change) for value in positional)
            named = tuple((name, rewritten(value, change)) for name, value in keywords)
            return change(Made(path, given, named))
        case tuple():
            return change(tuple(rewritten(item, change) for item in tree))
        case _:
            return change(tree)


def shown(tree: Tree) -> Tree:
    """Return a tree as ``typed`` prints it: forms become text."""
    return rewritten(tree, lambda part: Typed(str(part)) if isinstance(part, Form) else part)


def is_constant(tree: Tree) -> bool:
    """Whether a tree says the same everywhere: it has no variables."""
    match tree:
        case Form(_, terms):
            return not terms
        case Typed():
            return False
        case Made(_, positional, keywords):
            return all(map(is_constant, positional)) and all(is_constant(value) for _, value in keywords)
        case tuple():
            return all(map(is_constant, tree))
        case _:
            return True


def named_parts(tree: Tree) -> Iterator[str]:
    """Yield the paths of the objects that a tree names."""
    match tree:
        case Named(path):
            yield path
        case Made(_, positional, keywords):
            for value in (*positional, *(value for _, value in keywords)):
                yield from named_parts(value)
        case tuple():
            for item in tree:
                yield from named_parts(item)
