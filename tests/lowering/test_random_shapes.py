"""Each op that has a rule, in sizes and with attributes that no case has: refused with a reason, or as in torch."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.dialects.aten import Aten
from compiler.errors import UnsupportedOperation
from compiler.ir.types import DType
from lowering import rules
from tests.lowering import bounds
from tests.lowering.outcomes import BY_NAME, outcome
from tests.lowering.resized import Change, resized, sizes_of
from tests.passes.random_graphs import deterministic
from tests.sketch import Case

pytestmark = pytest.mark.slow

EACH, FEWEST, MOST = 4, 10, 40
"""Draws for each case of an op, and for an op. Some make no sense to torch, or are refused; one at least is lowered."""
PRIMES = (2, 3, 5, 7, 11, 13)


@cache
def sketches() -> dict[str, Case]:
    return {name: case.sketch() for name, case in BY_NAME.items()}


def cases_of(overload: Any) -> list[str]:
    """The cases that hold an ATen op, smallest first."""
    held = [name for name, case in sketches().items() if Aten(overload) in {node.op for node in case.graph.nodes}]
    return sorted(held, key=lambda name: (len(sketches()[name].graph.nodes), name))


@st.composite
def changes(draw: Any, case: Case) -> Change:
    """Each size becomes another one; or each of its prime factors does, so that what was joined or split still is."""
    sizes = sizes_of(case)
    if draw(st.booleans()):
        known = {size: draw(st.sampled_from((size, 1, 2, 5, 17, 31, 32, 33, 64, 65))) for size in sizes}
    else:
        factors = {prime: draw(st.sampled_from((1, 2, 3, 5) if prime > 2 else (1, 2, 3))) for prime in PRIMES}
        known = {size: product(size, factors) for size in sizes}
    return Change(
        known, draw(st.sampled_from((1.0, 0.5, 2.0))), draw(st.sampled_from((0, 0, 1))), draw(st.integers(0, 9))
    )


def product(size: int, factors: dict[int, int]) -> int:
    """A size with its prime factors replaced; a larger prime stays."""
    made = 1
    for prime, other in factors.items():
        while size % prime == 0:
            size, made = size // prime, made * other
    return made * size


@pytest.mark.parametrize("overload", rules.RULES, ids=str)
def test_it_is_refused_or_right(overload: Any) -> None:
    names, lowered = cases_of(overload), 0

    @deterministic(min(max(FEWEST, EACH * len(names)), MOST))
    @given(st.data())
    def check(data: Any) -> None:
        nonlocal lowered
        name = data.draw(st.sampled_from(names))
        case = resized(sketches()[name], data.draw(changes(sketches()[name])))
        if case is None:
            return
        try:
            made = outcome(case, DType.FLOAT32)
        except UnsupportedOperation:
            return
        lowered += 1
        if made.error:  # what is the same to the last bit needs no derivative
            assert made.error <= bounds.bound(made.lowered, case.parameters, case.inputs, DType.FLOAT32)

    check()
    assert lowered, "draw sizes that the op takes"
