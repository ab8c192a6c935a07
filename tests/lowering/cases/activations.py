"""Activations that transformers names, besides those of a linear."""

from __future__ import annotations

from compiler.dialects.aten import ops
from tests.lowering.cases.sketch import Spec

NAMED = (
    Spec("erf", lambda s: s(ops.erf.default, s.x(5, 33))),
    Spec("erf of a batch", lambda s: s(ops.erf.default, s.x(2, 7, 16, std=0.5))),
    Spec("hardswish", lambda s: s(ops.hardswish.default, s.x(5, 33, std=2))),
    Spec("mish", lambda s: s(ops.mish.default, s.x(5, 33))),
    Spec("mish of a batch", lambda s: s(ops.mish.default, s.x(2, 7, 16, std=2))),
    Spec("softplus", lambda s: s(ops.softplus.default, s.x(5, 33))),
    Spec("softplus that bends late", lambda s: s(ops.softplus.default, s.x(4, 20, std=4), 0.5, 3)),
    Spec("leaky_relu", lambda s: s(ops.leaky_relu.default, s.x(5, 33), 0.1)),
    Spec("leaky_relu, its own slope", lambda s: s(ops.leaky_relu.default, s.x(5, 33))),
    Spec("clamp", lambda s: s(ops.clamp.default, s.x(5, 33), -0.5, 1)),
    Spec("clamp from above", lambda s: s(ops.clamp.default, s.x(5, 33), None, 0.75)),
    Spec("clip", lambda s: s(ops.clip.default, s.x(5, 33, std=9), -10, 10)),
    Spec("relu6", lambda s: s(ops.hardtanh.default, s.x(5, 33, std=4), 0.0, 6.0)),
    Spec("hardtanh", lambda s: s(ops.hardtanh.default, s.x(5, 33))),
    Spec("square", lambda s: s(ops.square.default, s.x(5, 33))),
    Spec("pow of two", lambda s: s(ops.pow.Tensor_Scalar, s.x(5, 33), 2)),
    Spec("pow of three", lambda s: s(ops.pow.Tensor_Scalar, s.x(5, 33), 3.0)),
    Spec("gelu by tanh", lambda s: s(ops.gelu.default, s.x(5, 33), approximate="tanh")),
    Spec(
        "prelu of one slope",
        lambda s: s(ops.prelu.default, s.x(5, 33), s.w(1, mean=0.25, std=0.01)),
    ),
)
