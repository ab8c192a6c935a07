"""CANONICAL, the property: what is left is named. What the pass does is in ``cases/canonicalize``."""

from __future__ import annotations

from compiler.dialects.aten import ops
from passes.base import CANONICAL
from tests.sketch import Sketch


def test_the_property_names_what_is_left() -> None:
    s = Sketch()
    copied = s.op(ops.clone.default, s.op(ops.dropout.default, s.input("x", 2, 3), 0.1, False))
    graph = s.case(s.op(ops.mul.Tensor, copied, 1)).graph
    assert list(CANONICAL.violations(graph)) == ["aten.dropout.default is left", "aten.clone.default is left"]
