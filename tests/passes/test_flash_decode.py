"""FlashDecode, on TTNN graphs: what it takes, what it refuses and why, and that a key too many shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.decode_attention import decode_attention
from compiler.dialects.ttnn.program import program
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from lowering.rules import lower
from passes.concat_heads import ConcatHeads
from passes.flash_decode import FlashDecode
from passes.fold_constants import FoldConstants
from tests.passes.interpret import assert_same_numbers, fused, ops_of
from tests.sketch import Case, Sketch

KEYS, HEAD = 64, 32
LOWEST = torch.finfo(torch.float32).min


@dataclass
class Step:
    """Attention of a decoder's step over its cache, in the form that it has after the passes before."""

    batch: int = 1
    heads: int = 3
    queries: int = 1
    keys: int = KEYS
    position: int = 40
    vector: int = 32
    lowest: float = LOWEST
    visible: Any = ops.le.Tensor
    layers: int = 1

    def mask(self, s: Sketch) -> Value:
        position = s.input("position", self.vector, below=self.keys)
        s.inputs["position"].fill_(self.position)
        key = s.op(ops.view.default, s.op(ops.arange.start, 0, self.keys), (1, self.keys))
        at = s.op(ops.view.default, s.op(ops.arange.start, 0, self.keys), (self.keys, 1))
        table = s.op(ops.where.Scalar, s.op(self.visible, key, at), 0.0, self.lowest)
        rows = s.op(ops.embedding.default, table, position, module="mask")
        row = s.op(ops.slice.Tensor, rows, 0, 0, 1, module="mask")
        return s.op(ops.view.default, row, (1, 1, 1, self.keys), module="mask")

    def attended(self, s: Sketch, mask: Value | None, layer: int = 0) -> Value:
        shape = (self.batch, self.heads, self.keys, HEAD)
        query = s.input(f"q{layer}", self.batch, self.heads, self.queries, HEAD)
        key, value = s.input(f"k{layer}", *shape), s.input(f"v{layer}", *shape)
        sdpa = ops.scaled_dot_product_attention.default
        return s.op(sdpa, query, key, value, mask, scale=0.5, module=f"attention.{layer}")

    def columns(self, s: Sketch, heads: Value, layer: int = 0) -> Value:
        turned = s.op(ops.permute.default, heads, (0, 2, 1, 3), module=f"attention.{layer}")
        wide = (self.batch, self.queries, self.heads * HEAD)
        return s.op(ops.view.default, turned, wide, module=f"attention.{layer}")

    def case(self) -> Case:
        s = Sketch()
        mask = self.mask(s)
        return lowered(s.case(*(self.columns(s, self.attended(s, mask, i), i) for i in range(self.layers))))


def lowered(case: Case) -> Case:
    return replace(case, graph=ConcatHeads().run(lower(FoldConstants().run(case.graph), DType.FLOAT32)))


@pytest.mark.parametrize("position", [0, 31, 32, KEYS - 1])
@pytest.mark.parametrize("batch", [1, 2])
def test_keys_behind_the_position_are_not_seen(batch: int, position: int) -> None:
    graph = fused(FlashDecode(64), Step(batch, position=position).case(), Stage.TTNN)
    assert ops_of(graph)[-3:] == [decode_attention.name, "ttnn.experimental.view", "ttnn.reshape"]
    assert "ttnn.embedding" not in ops_of(graph)


@pytest.mark.parametrize(
    ("keys", "heads", "cores", "chunk", "group"),
    [(64, 4, 64, 32, 4), (256, 12, 64, 32, 4), (512, 12, 64, 64, 4), (1024, 24, 56, 256, 2), (1888, 12, 130, 32, 4)],
)
def test_how_keys_are_dealt_out(keys: int, heads: int, cores: int, chunk: int, group: int) -> None:
    """Chunks are tiles times a power of two that divides the keys, two at least a core where keys suffice."""
    step = Step(heads=heads, keys=keys)
    (node,) = (n for n in FlashDecode(cores).run(step.case().graph).nodes if n.op is decode_attention)
    assert (program(node).k_chunk_size, program(node).max_cores_per_head_batch) == (chunk, group)
    assert keys % chunk == 0


def test_one_key_more_or_less_shows() -> None:
    case = Step().case()
    graph = FlashDecode(64).run(case.graph)
    for off in (-1, 1):
        moved = replace(case, inputs={**case.inputs, "position": case.inputs["position"] + off})
        with pytest.raises(AssertionError, match="is off by"):
            assert_same_numbers(moved.run(graph), case.run())
