"""What has no lowering is refused, with its reason."""

from __future__ import annotations

import pytest
import torch

from compiler.dialects import aten
from compiler.dialects.aten import ops
from compiler.dialects.ttnn import op as table
from compiler.ir.graph import Value
from compiler.ir.operation import Origin
from lowering import rules
from tests.lowering.cases.attention import attention
from tests.lowering.cases.sketch import Build, Results
from tests.lowering.outcomes import refusal
from tests.sketch import Sketch


def layer_norm(s: Sketch, shape: tuple[int, ...], weighted: bool = True) -> Value:
    weights = (s.w(*shape), s.w(*shape)) if weighted else ()
    return s(ops.layer_norm.default, s.x(2, 4, 8), shape, *weights)


def attention_that_is(s: Sketch, head: int = 32, **given: object) -> Value:
    return attention(s, 1, 2, 4, 4, head, **given)


def cache_write(s: Sketch, at: tuple[int, ...] = (0,), dim: int = 2, steps: int = 32, head: int = 32) -> Value:
    new = [1, 2, steps, head]
    new[dim] = len(at)
    return s(ops.index_copy.default, s.x(1, 2, steps, head), dim, s.given(torch.tensor(at)), s.x(*new))


def two_positions(s: Sketch) -> Results:
    """Caches that cannot be written together."""
    return {"key": cache_write(s, (0,)), "value": cache_write(s, (1,))}


def looked_up_and_read(s: Sketch) -> Results:
    table = s.x(5, 4)
    return {"row": s(ops.embedding.default, table, s.given(torch.tensor([1]))), "all": s(ops.relu.default, table)}


def training(s: Sketch) -> Value:
    statistics = (s.w(4), s.w(4), s.w(4), s.w(4))
    return s(ops.batch_norm.default, s.x(2, 4, 8), *statistics, True, 0.1, 1e-5, True)


REFUSED: dict[str, tuple[Build, str]] = {
    "add with alpha": (lambda s: s(ops.add.Tensor, s.x(4), s.x(4), alpha=2), "alpha=2, only 1 is supported"),
    "sub with alpha": (lambda s: s(ops.sub.Tensor, s.x(4), 1.0, alpha=0.5), "alpha=0.5, only 1 is supported"),
    "rsub with alpha": (lambda s: s(ops.rsub.Scalar, s.x(4), 1, 3), "alpha=3, only 1 is supported"),
    "a quotient of integers": (
        lambda s: s(ops.div.Tensor, s.given(torch.tensor([3, 5])), 255),
        "it makes floats of i64[2], and no rule converts them: hand over floats, such as x.float()",
    ),
    "a product of bools": (
        lambda s: s(ops.mul.Tensor, s.given(torch.tensor([True, False])), 2.0),
        "it makes floats of bool[2], and no rule converts them: hand over floats, such as x.float()",
    ),
    "a fourth power": (
        lambda s: s(ops.pow.Tensor_Scalar, s.x(4), 4),
        "exponent=4, only squares and cubes are supported",
    ),
    "prelu with a slope a channel": (
        lambda s: s(ops.prelu.default, s.x(2, 4), s.w(4)),
        "a slope for each of 4 channels, only one for all is supported",
    ),
    "heads of 48": (lambda s: attention_that_is(s, head=48), "heads of 48 are no multiple of 32"),
    "heads of 8": (lambda s: attention_that_is(s, head=8), "heads of 8 are no multiple of 32"),
    "causal attention": (lambda s: attention_that_is(s, is_causal=True), "implicit causal masks are not supported"),
    "dropout in attention": (lambda s: attention_that_is(s, dropout_p=0.1), "dropout and implicit causal masks"),
    "batch norm in training": (training, "batch norm by the batch's own statistics"),
    "a single cache": (cache_write, "caches are written in pairs, key and value of a layer"),
    "caches at two positions": (two_positions, "and this one has no partner"),
    "several rows of a cache": (lambda s: cache_write(s, (0, 1)), "only one row of a cache"),
    "another dimension of a cache": (lambda s: cache_write(s, dim=1), "only one row of a cache"),
    "a cache of part of a tile": (lambda s: cache_write(s, steps=40), "a cache of 40 steps and heads of 32: both must"),
    "a cache with heads of 24": (lambda s: cache_write(s, head=24), "heads of 24: both must be multiples of 32"),
    "layer norm over two dimensions": (lambda s: layer_norm(s, (4, 8)), "only layer norm over the last dimension"),
    "layer norm without weights": (lambda s: layer_norm(s, (8,), weighted=False), "with weight and bias, is supported"),
    "the sum of magnitudes": (
        lambda s: s(ops.linalg_vector_norm.default, s.x(2, 4), 1, [1]),
        "only the Euclidean norm over one dimension is supported",
    ),
    "a norm over two dimensions": (
        lambda s: s(ops.linalg_vector_norm.default, s.x(2, 4), 2, [0, 1]),
        "only the Euclidean norm over one dimension is supported",
    ),
    "a linear whose weight is computed": (
        lambda s: s(ops.linear.default, s.x(2, 4), s.x(3, 4)),
        "it needs a weight that is known at compile time",
    ),
    "a gather from a vector": (
        lambda s: s(ops.gather.default, s.x(4), 0, s.parameter(torch.zeros(2, dtype=torch.int64))),
        "indices [2] into [4]: one row each is expected",
    ),
    "a gather by one row for all": (
        lambda s: s(ops.gather.default, s.x(3, 4, 8), 2, s.parameter(torch.zeros(1, 4, 2, dtype=torch.int64))),
        "indices [1, 4, 2] into [3, 4, 8]: one row each is expected",
    ),
    "a gather of rows": (
        lambda s: s(ops.gather.default, s.x(3, 4), 0, s.parameter(torch.zeros(3, 4, dtype=torch.int64))),
        "indices [3, 4] into [3, 4]: one row each is expected",
    ),
    "a gather from a long row": (
        lambda s: s(ops.gather.default, s.x(1, 2**16 + 1), 1, s.parameter(torch.zeros(1, 2, dtype=torch.int64))),
        "rows of 65537 elements are more than an index of 16 bits tells apart",
    ),
    "a gather by an input": (
        lambda s: s(ops.gather.default, s.x(1, 4), 1, s.given(torch.zeros(1, 2, dtype=torch.int64))),
        "it needs a weight that is known at compile time",
    ),
    "a convolution whose weight is computed": (
        lambda s: s(ops.conv1d.default, s.x(1, 4, 6), s.x(3, 4, 2)),
        "it needs a weight that is known at compile time",
    ),
    "an embedding whose table is read otherwise too": (
        looked_up_and_read,
        "it needs a table that is a constant, or an input that is only looked up",
    ),
    "an index that is counted up by two": (
        lambda s: s(ops.add.Tensor, s.given(torch.tensor([1])), 2),
        "indices are only counted up, by one",
    ),
}


@pytest.mark.parametrize("use", REFUSED)
def test_what_has_no_lowering_is_refused_with_its_reason(use: str) -> None:
    build, reason = REFUSED[use]
    message = refusal(build)
    assert reason in message
    assert "at model (line:1)" in message


def test_all_ops_without_a_rule_are_listed_at_once_with_their_origins() -> None:
    def build(s: Sketch) -> Value:
        x = s.x(3)
        for overload, line in ((ops.sin.default, "modeling.py:10"), (ops.relu.default, ""), (ops.cos.default, "")):
            origins = [Origin("encoder.layers.0", line), Origin("encoder.layers.1", line)]
            x = aten.emit(s.builder, overload, x, origins=origins)
        return s(ops.add.Tensor, x, x, alpha=2)

    assert refusal(build).splitlines()[:4] == [
        "3 ops of the sketch have no lowering to TTNN:",
        "  aten.sin.default at encoder.layers.0 (modeling.py:10), encoder.layers.1 (modeling.py:10): no rule",
        "  aten.cos.default at encoder.layers.0, encoder.layers.1: no rule",
        "  aten.add.Tensor at model (line:4): alpha=2, only 1 is supported",
    ]


def test_a_second_rule_for_an_op_is_refused_and_the_first_stays() -> None:
    first = rules.RULES[ops.add.Tensor]
    with pytest.raises(ValueError, match=r"aten\.add\.Tensor has a lowering already"):
        rules.lowers(ops.add.Tensor)(lambda context, node: context.tensor(node["self"]))
    assert rules.RULES[ops.add.Tensor] is first


def test_a_second_entry_of_an_op_is_refused_and_the_first_stays() -> None:
    first = table.OPS["ttnn.add"]
    with pytest.raises(ValueError, match=r"ttnn\.add is in the table already"):
        table.ttnn_op("ttnn.add")(lambda _, input_tensor_a, input_tensor_b: input_tensor_a)
    assert table.OPS["ttnn.add"] is first
