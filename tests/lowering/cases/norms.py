"""Norms, softmax and sums."""

from __future__ import annotations

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from tests.lowering.cases.sketch import Build, Spec
from tests.sketch import Sketch


def layer_norm(s: Sketch, x: Value, eps: float = 1e-5) -> Value:
    width = x.type.shape[-1]
    return s(ops.layer_norm.default, x, (width,), s.w(width, mean=1, std=0.2), s.w(width, std=0.1), eps)


def batch_norm(s: Sketch, x: Value, affine: bool = True, eps: float = 1e-5) -> Value:
    channels = x.type.shape[1]
    weight, bias = (s.w(channels, mean=1, std=0.2), s.w(channels, std=0.3)) if affine else (None, None)
    variance = s.parameter(s.uniform(channels, low=0.5, high=1.5))
    return s(ops.batch_norm.default, x, weight, bias, s.w(channels, std=0.3), variance, False, 0.1, eps, True)


def normalize(s: Sketch, x: Value) -> Value:
    """``torch.nn.functional.normalize``, as the decoder's prenet normalizes speakers."""
    norm = s(ops.linalg_vector_norm.default, x, 2.0, [1], True)
    return s(ops.div.Tensor, x, s(ops.clamp_min.default, norm, 1e-12))


def norm(name: str, build: Build) -> Spec:
    return Spec(f"vector norm {name}", build)


NORMS = (
    Spec("layer_norm", lambda s: layer_norm(s, s.x(5, 48))),
    Spec("layer_norm of a batch", lambda s: layer_norm(s, s.x(2, 7, 33))),
    Spec("layer_norm of one row off zero", lambda s: layer_norm(s, s.x(1, 1, 64, mean=3))),
    Spec("layer_norm with a large epsilon", lambda s: layer_norm(s, s.x(4, 32, std=0.1), 0.1)),
    Spec("batch_norm over time", lambda s: batch_norm(s, s.x(1, 8, 20))),
    Spec("batch_norm of a batch", lambda s: batch_norm(s, s.x(3, 5, 9))),
    Spec("batch_norm of two dimensions", lambda s: batch_norm(s, s.x(6, 5))),
    Spec("batch_norm of images", lambda s: batch_norm(s, s.x(2, 3, 4, 5))),
    Spec("batch_norm with a large epsilon", lambda s: batch_norm(s, s.x(1, 6, 8), eps=0.5)),
    Spec("softmax of the last dimension", lambda s: s(ops.softmax.int, s.x(4, 9, 33), -1)),
    Spec("softmax of heads", lambda s: s(ops.softmax.int, s.x(2, 3, 4, 8), 3)),
    Spec("softmax of a middle dimension", lambda s: s(ops.softmax.int, s.x(2, 9, 4), 1)),
    Spec("softmax of large scores", lambda s: s(ops.softmax.int, s.x(8, 20, mean=300, std=4), -1)),
    Spec("softmax of the core ATen set", lambda s: s(ops._softmax.default, s.x(5, 20), 1, False)),
    norm("that keeps its dimension", lambda s: s(ops.linalg_vector_norm.default, s.x(3, 40), 2, [1], True)),
    norm("that drops its dimension", lambda s: s(ops.linalg_vector_norm.default, s.x(2, 4, 24), 2, [-1])),
    norm("of columns", lambda s: s(ops.linalg_vector_norm.default, s.x(9, 5), 2, [0])),
    Spec("normalized speaker", lambda s: normalize(s, s.x(1, 36))),
    Spec("normalized speakers", lambda s: normalize(s, s.x(3, 24))),
)
