"""ChooseBlocks, on TTNN graphs: how much of an input is sent at a time, and where that is left to ttnn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.linear import block_width
from compiler.dialects.ttnn.program import program
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from lowering.rules import lower
from passes.choose_blocks import ChooseBlocks
from passes.place_in_l1 import PlaceInL1
from passes.shard_norms import ShardNorms
from passes.width_shards import Grid
from tests.passes.interpret import changed
from tests.passes.test_shard_norms import decoder_block, projected
from tests.sketch import Case, Sketch

STEP = ChooseBlocks()
PLACED = PlaceInL1(cores=4, l1_bytes=1 << 30)


def chain(*shape: int, hidden: int, out: int = 64) -> Case:
    """Two linears, of which the first writes to L1 and the second reads from there: both name their cores."""
    s = Sketch()
    hidden_value = projected(s, s.input("x", *shape), "up", hidden)
    case = s.case(s.op(ops.view.default, projected(s, hidden_value, "down", out), (*shape[:-1], out)))
    return replace(case, graph=PLACED.run(lower(case.graph, DType.FLOAT32)))


def blocks(case: Case) -> list[object]:
    return [program(node).block for node in changed(STEP, case, Stage.TTNN).nodes if node.op.name == "ttnn.linear"]


@pytest.mark.parametrize(
    ("shape", "hidden", "want"),
    [
        ((1, 1, 64), 768, [2, 8]),  # of 2 and of 24 tile columns
        ((4, 1, 64), 320, [2, 5]),  # of 2 and of 10, in each of four rows of a tile
        ((1, 512, 96), 8192, [3, None]),  # sixteen tile rows leave room for four tile columns
        ((1, 512, 256), 8192, [4, None]),
        ((1, 32, 64), 1024, [2, 8]),
    ],
)
def test_the_widest_block_that_divides_and_has_room(shape: tuple[int, ...], hidden: int, want: list[object]) -> None:
    assert blocks(chain(*shape, hidden=hidden)) == want


def test_a_linear_that_names_no_cores_is_left() -> None:
    s = Sketch()
    case = s.case(projected(s, s.input("x", 1, 1, 64), "o"))
    case = replace(case, graph=lower(case.graph, DType.FLOAT32))
    assert changed(STEP, case, Stage.TTNN) is case.graph


def test_a_linear_on_shards_is_left() -> None:
    """Its blocks follow from the shards."""
    case = decoder_block()
    sharded = PLACED.run(ShardNorms(Grid(2, 2)).run(case.graph))
    assert changed(STEP, replace(case, graph=sharded), Stage.TTNN) is sharded


@pytest.mark.parametrize(("columns", "most", "width"), [(24, 8, 8), (10, 8, 5), (7, 8, 7), (11, 8, 1), (24, 4, 4)])
def test_block_width(columns: int, most: int, width: int) -> None:
    assert block_width(columns, most) == width
