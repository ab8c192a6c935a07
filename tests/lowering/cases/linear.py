"""Tables, linear layers and products."""

from __future__ import annotations

import torch

from compiler.dialects.aten import ops
from compiler.ir.graph import Value
from tests.lowering.cases.sketch import Spec
from tests.sketch import Sketch


def indices(s: Sketch, rows: int, *shape: int) -> Value:
    """Indices into a table, its first and last row among them."""
    drawn = torch.randint(rows, shape, generator=s.random)
    drawn.view(-1)[0], drawn.view(-1)[-1] = 0, rows - 1
    return s.given(drawn)


def position(s: Sketch, at: int) -> Value:
    """The decoder's position: one index."""
    return s.given(torch.tensor([at]), "position")


def next_row(s: Sketch) -> Value:
    return s(ops.embedding.default, s.w(20, 8), s(ops.add.Tensor, position(s, 11), 1))


def in_a_sum(s: Sketch) -> Value:
    """A row of the sum of a table and a vector."""
    return s(ops.embedding.default, s(ops.add.Tensor, s.w(20, 64), s.x(1, 64)), position(s, 3))


def first_rows(s: Sketch) -> Value:
    """Cut off within the last tile, as a position that stands there for each row of a tile is looked up."""
    return s(ops.slice.Tensor, s(ops.embedding.default, s.w(20, 64), indices(s, 20, 32)), 0, 0, 1)


def gather(s: Sketch, width: int, *shape: int) -> Value:
    """Elements of rows of ``width``, at indices of ``shape``."""
    index = s.parameter(torch.randint(width, shape, generator=s.random))
    return s(ops.gather.default, s.x(*shape[:-1], width), -1, index)


LINEAR = (
    Spec("embedding of a batch of tokens", lambda s: s(ops.embedding.default, s.w(11, 16), indices(s, 11, 2, 5))),
    Spec("embedding of one text with padding", lambda s: s(ops.embedding.default, s.w(9, 33), indices(s, 9, 1, 7), 1)),
    Spec("embedding of a vector", lambda s: s(ops.embedding.default, s.w(20, 8), indices(s, 20, 6))),
    Spec("gather of each row", lambda s: gather(s, 7, 2, 3, 5)),
    Spec("gather of one row", lambda s: gather(s, 40, 1, 33)),
    Spec("embedding of the last position", lambda s: s(ops.embedding.default, s.w(20, 8), position(s, 19))),
    Spec("embedding in a table that is an input", lambda s: s(ops.embedding.default, s.x(6, 64), position(s, 4))),
    Spec("embedding of the next position", next_row),
    Spec("embedding in a table that is computed", in_a_sum),
    Spec("the first rows of those looked up", first_rows),
    Spec("linear", lambda s: s(ops.linear.default, s.x(5, 48), s.w(24, 48), s.w(24))),
    Spec("linear of one row", lambda s: s(ops.linear.default, s.x(1, 1, 40), s.w(33, 40), s.w(33))),
    Spec("linear of a batch", lambda s: s(ops.linear.default, s.x(2, 7, 32), s.w(20, 32), s.w(20))),
    Spec("linear of four dimensions", lambda s: s(ops.linear.default, s.x(2, 3, 5, 16), s.w(8, 16))),
    Spec("linear without a bias", lambda s: s(ops.linear.default, s.x(3, 64), s.w(2, 64))),
    Spec(
        "linear with a bias that outweighs the products",
        lambda s: s(ops.linear.default, s.x(4, 16, std=0.01), s.w(16, 16), s.w(16, mean=8)),
    ),
    Spec("bmm", lambda s: s(ops.bmm.default, s.x(6, 5, 32), s.x(6, 32, 7))),
    Spec("bmm of one row", lambda s: s(ops.bmm.default, s.x(1, 1, 16), s.x(1, 16, 9))),
    Spec("bmm with a weight", lambda s: s(ops.bmm.default, s.x(3, 4, 8), s.w(3, 8, 6))),
    Spec("mm", lambda s: s(ops.mm.default, s.x(5, 33), s.x(33, 6))),
    Spec("matmul of heads", lambda s: s(ops.matmul.default, s.x(2, 3, 4, 8), s.x(2, 3, 8, 5))),
    Spec("matmul with relative positions", lambda s: s(ops.matmul.default, s.x(5, 4, 8), s.w(5, 8, 5))),
    Spec("matmul with one matrix", lambda s: s(ops.matmul.default, s.x(2, 5, 8), s.x(8, 3))),
    Spec("matmul that repeats a batch row", lambda s: s(ops.matmul.default, s.x(1, 3, 4, 8), s.x(2, 1, 8, 4))),
)
