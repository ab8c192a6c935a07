"""FOLDED, the property: what is left is named. What the pass does is in ``cases/fold_constants``."""

from __future__ import annotations

from compiler.dialects.aten import ops
from passes.base import FOLDED
from tests.sketch import Sketch


def test_the_property_names_what_is_left() -> None:
    s = Sketch()
    case = s.case(s.op(ops.add.Tensor, s.input("x", 4), s.op(ops.relu.default, s.weight("w", 4))))
    assert list(FOLDED.violations(case.graph)) == ["aten.relu.default reads constants only"]
