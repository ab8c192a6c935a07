"""Several ops that passes make one of."""

from __future__ import annotations

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from passes.fuse_activation import FuseActivation
from passes.fuse_bias import FuseBias
from passes.fuse_residual import FuseResidual
from tests.lowering.cases.linear import position
from tests.lowering.cases.norms import layer_norm
from tests.lowering.cases.sketch import Results, Spec
from tests.sketch import Sketch


def feed_forward(s: Sketch) -> Value:
    """Two linear layers, the residual around them and its norm."""
    x = s.x(2, 5, 32)
    inner = s(ops.gelu.default, s(ops.linear.default, x, s.w(64, 32, std=32**-0.5), s.w(64, std=0.1)))
    return layer_norm(s, s(ops.add.Tensor, x, s(ops.linear.default, inner, s.w(32, 64, std=0.1), s.w(32, std=0.1))))


def passed_on(s: Sketch) -> Results:
    """Outputs that are an input, a weight, and one value twice."""
    x, w = s.x(2, 3), s.w(4)
    y = s(ops.relu.default, x)
    return {"input": x, "weight": w, "once": y, "again": y}


def residual(s: Sketch) -> Value:
    """The norm of a sum."""
    return layer_norm(s, s(ops.add.Tensor, s.x(2, 5, 32), s.x(2, 5, 32)))


def active_sum(s: Sketch) -> Value:
    """The end of the prenet."""
    return s(ops.relu.default, s(ops.add.Tensor, s.x(2, 1, 32), s.x(32)))


def shifted(s: Sketch) -> Value:
    """A linear and the row of a table at a position."""
    row = s(ops.embedding.default, s.w(9, 24), position(s, 4))
    return s(ops.add.Tensor, s(ops.linear.default, s.x(2, 1, 48), s.w(24, 48)), row)


BLOCKS = (
    Spec("relu of a sum", active_sum, (FuseActivation(),)),
    Spec("linear with a computed bias", shifted, (FuseBias(),)),
    Spec("layer norm of a residual", residual, (FuseResidual(),)),
    Spec("feed-forward layers", feed_forward),
    Spec("inputs and weights as outputs", passed_on),
)
