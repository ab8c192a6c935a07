"""Elements moved: nothing is computed, so nothing may change."""

from __future__ import annotations

from compiler.dialects.aten import ops
from tests.lowering.cases.sketch import Spec

SHAPE = (
    Spec("view merges heads", lambda s: s(ops.view.default, s.x(2, 5, 4, 8), (2, 5, 32))),
    Spec("view splits heads", lambda s: s(ops.view.default, s.x(1, 5, 32), (1, 5, 4, 8))),
    Spec("view with a size left open", lambda s: s(ops.view.default, s.x(2, 6, 5), (-1, 5))),
    Spec("view adds and drops single dimensions", lambda s: s(ops.view.default, s.x(1, 7), (7, 1, 1))),
    Spec("view of a vector", lambda s: s(ops.view.default, s.x(33), (3, 11))),
    Spec("permute of a matrix", lambda s: s(ops.permute.default, s.x(5, 33), (1, 0))),
    Spec("permute of heads", lambda s: s(ops.permute.default, s.x(2, 5, 3, 8), (0, 2, 1, 3))),
    Spec("permute in a cycle", lambda s: s(ops.permute.default, s.x(2, 3, 4), (2, 0, 1))),
    Spec("permute by negative dimensions", lambda s: s(ops.permute.default, s.x(2, 3, 4), (0, -1, -2))),
    Spec("expand of rows", lambda s: s(ops.expand.default, s.x(2, 1, 1, 9), (2, 3, 5, 9))),
    Spec("expand to more dimensions", lambda s: s(ops.expand.default, s.x(1, 6), (2, 4, 6))),
    Spec("expand with sizes kept", lambda s: s(ops.expand.default, s.x(3, 1, 4), (-1, 2, -1))),
    Spec("slice of the first dimension", lambda s: s(ops.slice.Tensor, s.x(6, 5), 0, 2, 4)),
    Spec("slice of the last dimension from its end", lambda s: s(ops.slice.Tensor, s.x(2, 3, 7), -1, -3)),
    Spec("slice past the end", lambda s: s(ops.slice.Tensor, s.x(2, 7), 1, 3, 2**63 - 1)),
    Spec("slice up to a negative end", lambda s: s(ops.slice.Tensor, s.x(2, 7, 2), -2, None, -2)),
    Spec("slice with a step that divides", lambda s: s(ops.slice.Tensor, s.x(8, 3), 0, 0, 8, 2)),
    Spec("slice with a step that leaves a rest", lambda s: s(ops.slice.Tensor, s.x(2, 9), 1, 1, 9, 3)),
    Spec("slice of one row of four dimensions", lambda s: s(ops.slice.Tensor, s.x(2, 3, 4, 5), 2, 3, 4)),
    Spec("cat of the last dimension", lambda s: s(ops.cat.default, [s.x(2, 1, 8), s.x(2, 1, 5)], -1)),
    Spec("cat of three in the first dimension", lambda s: s(ops.cat.default, [s.x(1, 4), s.x(3, 4), s.x(2, 4)])),
    Spec("cat of four dimensions", lambda s: s(ops.cat.default, [s.x(2, 3, 4, 5), s.x(2, 3, 1, 5)], 2)),
    Spec("cat with a weight", lambda s: s(ops.cat.default, [s.w(1, 4), s.x(2, 4)], 0)),
)
