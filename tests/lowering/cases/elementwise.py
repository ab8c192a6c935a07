"""Ops that work element by element."""

from __future__ import annotations

import torch
from torch import Tensor

from compiler.dialects.aten import ops
from tests.lowering.cases.sketch import Spec
from tests.sketch import Sketch

ARITHMETIC = (
    Spec("add", lambda s: s(ops.add.Tensor, s.x(4, 33), s.x(4, 33))),
    Spec("add of a batch", lambda s: s(ops.add.Tensor, s.x(2, 5, 32), s.x(2, 5, 32))),
    Spec("add of a row", lambda s: s(ops.add.Tensor, s.x(2, 5, 32), s.x(32))),
    Spec("add of a column", lambda s: s(ops.add.Tensor, s.x(2, 5, 32), s.x(2, 5, 1))),
    Spec("add of a column and a row", lambda s: s(ops.add.Tensor, s.x(6, 1), s.x(1, 17))),
    Spec("add of a mask to heads", lambda s: s(ops.add.Tensor, s.x(2, 3, 4, 8), s.x(2, 1, 1, 8))),
    Spec("add of a number", lambda s: s(ops.add.Tensor, s.x(3, 20), 0.7)),
    Spec("add of a weight", lambda s: s(ops.add.Tensor, s.x(2, 4, 16), s.w(1, 4, 16))),
    Spec("add with alpha of one", lambda s: s(ops.add.Tensor, s.x(8, 8), s.x(8, 8), alpha=1)),
    Spec("sub", lambda s: s(ops.sub.Tensor, s.x(4, 33), s.x(4, 33))),
    Spec("sub of a row of higher rank", lambda s: s(ops.sub.Tensor, s.x(33), s.x(2, 3, 33))),
    Spec("sub of a number", lambda s: s(ops.sub.Tensor, s.x(2, 40), 1.25)),
    Spec("sub from a weight", lambda s: s(ops.sub.Tensor, s.w(6, 16), s.x(6, 16))),
    Spec("rsub from one", lambda s: s(ops.rsub.Scalar, s.x(2, 40), 1)),
    Spec("rsub from a fraction", lambda s: s(ops.rsub.Scalar, s.x(2, 3, 17), 0.3)),
    Spec("mul", lambda s: s(ops.mul.Tensor, s.x(4, 33), s.x(4, 33))),
    Spec("mul by a row of four dimensions", lambda s: s(ops.mul.Tensor, s.x(2, 3, 4, 8), s.x(8))),
    Spec("mul by a number", lambda s: s(ops.mul.Tensor, s.x(3, 20), 0.3)),
    Spec("mul by a weight of one element", lambda s: s(ops.mul.Tensor, s.x(2, 5, 16), s.w(1))),
    Spec("mul by a mask", lambda s: s(ops.mul.Tensor, s.x(2, 5, 16), s.given(keep(s, 16)))),
    Spec("div", lambda s: s(ops.div.Tensor, s.x(4, 33), s.given(s.uniform(4, 33, low=1, high=4)))),
    Spec("div by a column", lambda s: s(ops.div.Tensor, s.x(2, 5, 32), s.given(s.uniform(2, 5, 1, low=1, high=2)))),
    Spec("div by a number", lambda s: s(ops.div.Tensor, s.x(3, 20), 3.0)),
    Spec("div by a power of two", lambda s: s(ops.div.Tensor, s.x(3, 20), 0.5)),
    Spec("div of a weight", lambda s: s(ops.div.Tensor, s.w(1, 9), s.given(s.uniform(2, 9, low=1, high=3)))),
    Spec("clamp_min at zero", lambda s: s(ops.clamp_min.default, s.x(4, 20), 0)),
    Spec("clamp_min at a fraction", lambda s: s(ops.clamp_min.default, s.x(2, 12, 1), -0.25)),
)


def keep(s: Sketch, *shape: int) -> Tensor:
    """A dropout mask of zeros and ones, both in it."""
    mask = (torch.rand(shape, generator=s.random) < 0.5).float()
    mask.view(-1)[:2] = torch.tensor([0.0, 1.0])
    return mask


ACTIVATIONS = (
    Spec("relu", lambda s: s(ops.relu.default, s.x(5, 33))),
    Spec("relu of four dimensions", lambda s: s(ops.relu.default, s.x(2, 3, 4, 5))),
    Spec("gelu", lambda s: s(ops.gelu.default, s.x(5, 33, std=0.5))),
    Spec("gelu of a batch", lambda s: s(ops.gelu.default, s.x(2, 7, 16), approximate="none")),
    Spec("silu", lambda s: s(ops.silu.default, s.x(5, 33, std=2))),
    Spec("silu of a batch", lambda s: s(ops.silu.default, s.x(2, 7, 16))),
    Spec("tanh", lambda s: s(ops.tanh.default, s.x(5, 33))),
    Spec("tanh of a batch", lambda s: s(ops.tanh.default, s.x(2, 16, 9, std=0.3))),
    Spec("sigmoid", lambda s: s(ops.sigmoid.default, s.x(5, 33))),
    Spec("sigmoid of a probability to stop", lambda s: s(ops.sigmoid.default, s.x(2, 2, mean=-3))),
    Spec("sqrt", lambda s: s(ops.sqrt.default, s.given(s.uniform(5, 33, low=0, high=9)))),
    Spec("sqrt of a column", lambda s: s(ops.sqrt.default, s.given(s.uniform(3, 1, low=0.1, high=1)))),
)
