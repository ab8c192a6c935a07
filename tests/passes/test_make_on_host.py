"""MakeOnHost, on TTNN graphs: what goes to the host and what stays, and why; that a mask forgotten on the way shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.op import runs_on_host
from compiler.dialects.ttnn.shape import to_device
from compiler.errors import InvalidGraph
from compiler.ir.graph import Graph, Role, Value
from compiler.ir.operation import Stage
from compiler.ir.text import to_text
from compiler.ir.types import DType, Memory
from compiler.ir.verify import verify
from compiler.target.boards import BOARDS, DISPATCH, LINK
from lowering.rules import lower
from passes.fold_constants import FoldConstants
from passes.make_on_host import MakeOnHost
from passes.mask_by_index import MaskByIndex
from passes.place_in_l1 import PlaceInL1
from passes.rewrite import near_misses
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.passes.test_mask_by_index import HEADS, KEYS, Layer
from tests.sketch import Case, Sketch

TILE = 2048
"""Bytes of a tile of 16 bits."""


def lowered(case: Case, dtype: DType = DType.BFLOAT16) -> Case:
    return replace(case, graph=lower(FoldConstants().run(case.graph), dtype))


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


@pytest.mark.parametrize("placed", [False, True])
def test_golden(golden: Callable[[str, str], None], placed: bool) -> None:
    name = "make_on_host_l1" if placed else "make_on_host"
    golden(name, to_text(changed(ALL, masked(placed=placed), Stage.TTNN)))


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


def test_golden_of_what_takes_no_byte_more(golden: Callable[[str, str], None]) -> None:
    graph = fused(SPEAKER, norm(), Stage.TTNN)
    golden("make_on_host_norm", to_text(graph))
    assert ops_of(graph)[-2:] == ["ttnn.to_device", "ttnn.linear"]


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


def weighted() -> Case:
    s = Sketch()
    return lowered(
        s.case(s.op(ops.mul.Tensor, s.input("speaker", 1, 64, role=Role.HOST), s.weight("w", 64))), DType.FLOAT32
    )


def viewed() -> Case:
    s = Sketch()
    made = s.op(ops.view.default, s.input("speaker", 1, 64, role=Role.HOST), (1, 1, 64))
    return lowered(s.case(s.op(ops.mul.Tensor, made, s.weight("w", 64))), DType.FLOAT32)


def from_a_state() -> Case:
    s = Sketch()
    return lowered(s.case(s.op(ops.relu.default, s.input("frames", 1, 64))), DType.FLOAT32)


MISSES: list[Any] = [
    pytest.param(weighted(), [], id="a weight"),
    pytest.param(from_a_state(), [], id="an input that the host does not have"),
    pytest.param(viewed(), ["it is no program on the device"], id="a view"),
]


@pytest.mark.parametrize(("case", "reasons"), MISSES)
def test_near_miss(case: Case, reasons: list[str]) -> None:
    assert changed(SPEAKER, case, Stage.TTNN) is case.graph
    assert [why for _, why in near_misses(SPEAKER, case.graph)] == reasons


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
        verify(wrong, Stage.TTNN)


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
