"""MakeOnHost, on TTNN graphs: what goes to the host and what stays, and why; that a mask forgotten on the way shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.op import runs_on_host
from compiler.dialects.ttnn.shape import to_device
from compiler.errors import InvalidGraph
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph, Role, Value
from compiler.ir.operation import Stage
from compiler.ir.types import DType, Memory
from compiler.target.boards import BOARDS, DISPATCH, LINK
from lowering.rules import lower
from passes.fold_constants import FoldConstants
from passes.make_on_host import MakeOnHost
from passes.mask_by_index import MaskByIndex
from passes.place_in_l1 import PlaceInL1
from passes.rewrite import near_misses
from tests.passes.interpret import assert_same_numbers, changed, ops_of
from tests.sketch import Case, Sketch

HEADS, QUERIES, KEYS, HEAD = 3, 4, 5, 6
LOWEST = torch.finfo(torch.float32).min
TILE = 2048
"""Bytes of a tile of 16 bits."""


def lowered(case: Case, dtype: DType = DType.BFLOAT16) -> Case:
    return replace(case, graph=lower(FoldConstants().run(case.graph), dtype))


@dataclass
class Layer:
    """Scores of relative positions under a mask, in the form that the encoder has them after the ATen passes."""

    batch: int = 2
    lowest: float = LOWEST
    one: float = 1
    shift: int = QUERIES
    pad: tuple[int, ...] = (0, 0, 1, 0)
    bias: bool = False

    def product(self, s: Sketch, query: Value) -> Value:
        rows = s.weight("rows", QUERIES + KEYS - 1, HEAD)
        table = s.op(ops.constant_pad_nd.default, rows, self.pad)
        bias = s.weight("bias", QUERIES + KEYS) if self.bias else None
        return s.op(ops.linear.default, query, table, bias, module="positions")

    def picked(self, s: Sketch, product: Value) -> Value:
        i = s.op(ops.view.default, s.op(ops.arange.start, 0, QUERIES), (QUERIES, 1))
        j = s.op(ops.view.default, s.op(ops.arange.start, 0, KEYS), (1, KEYS))
        index = s.op(ops.add.Tensor, s.op(ops.sub.Tensor, j, i), self.shift)
        index = s.op(ops.expand.default, index, (self.batch * HEADS, QUERIES, KEYS))
        made = s.op(ops.gather.default, product, 2, index, module="positions")
        return s.op(ops.view.default, made, (self.batch, HEADS, QUERIES, KEYS))

    def mask(self, s: Sketch, keep: Value) -> Value:
        added = s.op(ops.mul.Tensor, s.op(ops.rsub.Scalar, keep, self.one), self.lowest, module="mask")
        return s.op(ops.view.default, added, (self.batch, 1, 1, KEYS))

    def inputs(self, s: Sketch) -> tuple[Value, Value]:
        query, keep = s.input("q", self.batch * HEADS, QUERIES, HEAD), s.input("keep", self.batch, KEYS)
        s.inputs["keep"] = (torch.arange(KEYS) < torch.tensor([[KEYS], [2]])[: self.batch]).float()
        return query, keep

    def case(self) -> Case:
        s = Sketch()
        query, keep = self.inputs(s)
        scores = self.picked(s, self.product(s, query))
        case = s.case(s.op(ops.add.Tensor, scores, self.mask(s, keep), module="scores"))
        return lowered(case, DType.FLOAT32)


def masked(batch: int = 1, placed: bool = False) -> Case:
    """Relative positions of a few tokens whose padded keys point at a column of their own."""
    case = Layer(batch).case().with_roles(Role.HOST, "keep")
    graph = MaskByIndex().run(case.graph)
    return replace(case, graph=PlaceInL1(cores=56, l1_bytes=1_000_000).run(graph) if placed else graph)


def on_host(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes if runs_on_host(node)]


def sent(graph: Graph) -> list[str]:
    return [str(node.result.type) for node in graph.nodes if node.op is to_device]


ALL = MakeOnHost(2**20)


def test_the_index_is_made_on_the_host_and_sent() -> None:
    graph = changed(ALL, masked(), Stage.TTNN)
    assert on_host(graph) == ["ttnn.reshape", "ttnn.typecast", "ttnn.multiply", "ttnn.reshape"]
    assert sent(graph) == ["u16[3,4,5] tile dram"]
    assert graph.input("keep").type.memory is Memory.HOST


def test_constants_that_the_host_reads_are_not_placed_on_the_device() -> None:
    graph = changed(ALL, masked(), Stage.TTNN)
    index = [constant.value.type for constant in graph.constants if constant.value.type.dtype is DType.UINT16]
    assert [type.memory for type in index] == [Memory.HOST]


def test_a_result_goes_where_the_device_would_have_written_it() -> None:
    assert sent(changed(ALL, masked(placed=True), Stage.TTNN)) == ["u16[3,4,5] tile l1"]


@pytest.mark.parametrize(("batch", "programs"), [(1, 2), (2, 3)])
def test_where_the_index_takes_long_to_send_the_cast_alone_goes(batch: int, programs: int) -> None:
    """The index is a tile of 16 bits for each head of each row, the mask one of 32 bits for all.

    Rows of a mask that stand in one tile take a program more to stand in one each.
    """
    more = HEADS * batch * TILE - 2 * TILE
    assert "ttnn.multiply" in on_host(changed(MakeOnHost(-(-more // programs)), masked(batch), Stage.TTNN))
    step, case = MakeOnHost(more // programs - 1), masked(batch)
    graph = changed(step, case, Stage.TTNN)
    assert on_host(graph) == ["ttnn.reshape", "ttnn.typecast"]
    assert sent(graph) == [f"u16[{batch},1,1,{KEYS}] tile dram"]
    worth = programs * step.bytes_per_program
    reason = (
        f"sending the result takes {more} bytes more than the inputs, and {programs} programs less are worth {worth}"
    )
    assert [(node.op.name, why) for node, why in near_misses(step, case.graph)] == [
        ("ttnn.multiply", reason),
        ("ttnn.reshape", reason),
    ]


def norm(read_elsewhere: bool = False, other: bool = False) -> Case:
    """A vector of the host's, divided by its length, before a layer."""
    s = Sketch()
    speaker = s.input("speaker", 1, 64, role=Role.HOST)
    length = s.op(ops.linalg_vector_norm.default, speaker, 2, [1], True, module="norm")
    unit = s.op(ops.div.Tensor, speaker, s.op(ops.clamp_min.default, length, 1e-12), module="norm")
    if other:
        unit = s.op(ops.add.Tensor, unit, s.input("x", 1, 64))
    made = s.op(ops.linear.default, unit, s.weight("w", 32, 64), module="layer")
    also = [s.op(ops.relu.default, s.op(ops.linear.default, speaker, s.weight("v", 32, 64)))] if read_elsewhere else []
    return lowered(s.case(made, *also), DType.FLOAT32)


SPEAKER = MakeOnHost(0)


def test_an_input_that_others_read_is_sent_too() -> None:
    assert on_host(changed(SPEAKER, norm(read_elsewhere=True), Stage.TTNN)) == []
    graph = changed(MakeOnHost(2**20), norm(read_elsewhere=True), Stage.TTNN)
    assert sent(graph) == ["f32[1,64] tile dram"] * 2
    assert len(on_host(graph)) == 5


def test_what_other_inputs_take_part_in_stays() -> None:
    graph = changed(SPEAKER, norm(other=True), Stage.TTNN)
    assert ops_of(graph)[-3:] == ["ttnn.to_device", "ttnn.add", "ttnn.linear"]


def test_what_is_returned_is_sent() -> None:
    s = Sketch()
    case = lowered(s.case(s.op(ops.relu.default, s.input("speaker", 1, 64, role=Role.HOST))), DType.FLOAT32)
    assert ops_of(changed(SPEAKER, case, Stage.TTNN)) == ["ttnn.relu", "ttnn.to_device"]


def test_what_does_not_hang_together_is_decided_by_itself() -> None:
    """One vector grows to a whole tile of rows, another stays what it is."""
    s = Sketch()
    wide = s.op(ops.mul.Tensor, s.input("narrow", 1, 32, role=Role.HOST), s.op(ops.ones.default, (64, 32)))
    case = lowered(s.case(wide, s.op(ops.relu.default, s.input("speaker", 1, 64, role=Role.HOST))), DType.FLOAT32)
    graph = changed(MakeOnHost(0), case, Stage.TTNN)
    assert on_host(graph) == ["ttnn.relu"]


def test_what_a_board_s_link_carries_between_two_programs() -> None:
    for board in BOARDS.values():
        seconds = board.bytes_per_program * board.chips / LINK.value
        assert seconds == pytest.approx(DISPATCH.value / board.clock.value, rel=1e-4)


def test_a_device_op_does_not_read_from_the_host() -> None:
    graph = ALL.run(masked().graph)
    node = next(node for node in graph.nodes if node.op is to_device)
    skipped = {node.result: node["tensor"]}
    wrong = replace(graph, nodes=tuple(n.with_operands(skipped) for n in graph.nodes if n is not node))
    with pytest.raises(InvalidGraph, match="reads index on the host, and is to run on the device"):
        check_graph(wrong, Stage.TTNN)


class Forgetful(MakeOnHost):
    """Sends the index as it was before the mask."""

    def run(self, graph: Graph) -> Graph:
        made = super().run(graph)
        product = next(node for node in made.nodes if node.op.name == "ttnn.multiply")
        unmasked: dict[Value, Value] = {product.result: product["input_tensor_a"]}
        return replace(made, nodes=tuple(node.with_operands(unmasked) for node in made.nodes))


def test_a_mask_forgotten_shows() -> None:
    case = masked()
    case.inputs["keep"].copy_(torch.tensor([[1.0, 1, 0, 0, 0]]))
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(Forgetful(2**20).run(case.graph)), case.run())
