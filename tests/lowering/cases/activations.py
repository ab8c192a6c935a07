"""Activations that transformers names, besides those of a linear."""

from __future__ import annotations

from compiler.dialects.aten import ops
from tests.lowering.cases.elementwise import NONE, rounded
from tests.lowering.cases.sketch import ORDER, ROUNDING, SAME, Spec

NEGATIVE = "only negative elements are rounded, at the slope's size"
SQUARED = "the square is rounded once"
CUBED = "the square is rounded, and the product"
BENT = "the largest results are the input times almost two halves, and each product is rounded"

NAMED = (
    rounded("erf", lambda s: s(ops.erf.default, s.x(5, 33))),
    rounded("erf of a batch", lambda s: s(ops.erf.default, s.x(2, 7, 16, std=0.5))),
    rounded("hardswish", lambda s: s(ops.hardswish.default, s.x(5, 33, std=2))),
    rounded("mish", lambda s: s(ops.mish.default, s.x(5, 33))),
    rounded("mish of a batch", lambda s: s(ops.mish.default, s.x(2, 7, 16, std=2))),
    rounded("softplus", lambda s: s(ops.softplus.default, s.x(5, 33))),
    rounded("softplus that bends late", lambda s: s(ops.softplus.default, s.x(4, 20, std=4), 0.5, 3)),
    Spec("leaky_relu", lambda s: s(ops.leaky_relu.default, s.x(5, 33), 0.1), SAME, 0.1 * ROUNDING, NEGATIVE),
    Spec("leaky_relu, its own slope", lambda s: s(ops.leaky_relu.default, s.x(5, 33)), SAME, 0.01 * ROUNDING, NEGATIVE),
    Spec("clamp", lambda s: s(ops.clamp.default, s.x(5, 33), -0.5, 1), SAME, SAME, NONE),
    Spec("clamp from above", lambda s: s(ops.clamp.default, s.x(5, 33), None, 0.75), SAME, SAME, NONE),
    Spec("clip", lambda s: s(ops.clip.default, s.x(5, 33, std=9), -10, 10), SAME, SAME, NONE),
    Spec("relu6", lambda s: s(ops.hardtanh.default, s.x(5, 33, std=4), 0.0, 6.0), SAME, SAME, NONE),
    Spec("hardtanh", lambda s: s(ops.hardtanh.default, s.x(5, 33)), SAME, SAME, NONE),
    Spec("square", lambda s: s(ops.square.default, s.x(5, 33)), SAME, 1 * ROUNDING, SQUARED),
    Spec("pow of two", lambda s: s(ops.pow.Tensor_Scalar, s.x(5, 33), 2), SAME, 1 * ROUNDING, SQUARED),
    Spec("pow of three", lambda s: s(ops.pow.Tensor_Scalar, s.x(5, 33), 3.0), SAME, 2 * ROUNDING, CUBED),
    Spec("gelu by tanh", lambda s: s(ops.gelu.default, s.x(5, 33), approximate="tanh"), ORDER, 2 * ROUNDING, BENT),
    Spec(
        "prelu of one slope",
        lambda s: s(ops.prelu.default, s.x(5, 33), s.w(1, mean=0.25, std=0.01)),
        SAME,
        0.25 * ROUNDING,
        NEGATIVE,
    ),
)
