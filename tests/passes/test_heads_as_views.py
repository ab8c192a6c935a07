"""HeadsAsViews, on TTNN graphs: where the heads are, what it refuses and why, and that a wrong place shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.shape import narrow
from compiler.ir.graph import Graph, Port, Value
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from lowering.rules import lower
from passes.heads_as_views import MOST_PADDED, HeadsAsViews
from passes.rewrite import near_misses
from passes.split_heads import SplitHeads
from tests.passes.interpret import assert_same_numbers, changed, fused, ops_of
from tests.sketch import Case, Sketch

HEAD = 32
VIEW = "ttnn.experimental.view"


def lowered(case: Case) -> Case:
    return replace(case, graph=SplitHeads().run(lower(case.graph, DType.FLOAT32)))


def split(s: Sketch, made: Value, heads: int, head: int = HEAD) -> Value:
    batch, rows, _ = made.type.shape
    apart = s.op(ops.view.default, made, (batch, rows, heads, head), module="attention")
    return s.op(ops.permute.default, apart, (0, 2, 1, 3), module="attention")


def step(
    names: str = "qkv",
    batch: int = 1,
    rows: int = 1,
    heads: int = 3,
    width: int = 4,
    bias: bool = True,
    head: int = HEAD,
) -> Case:
    """Queries, keys and values of what a layer is given, in heads."""
    s = Sketch()
    x = s.input("x", batch, rows, width)
    made = []
    for name in names:
        given = s.weight(f"{name}.bias", heads * head) if bias else None
        made.append(s.op(ops.linear.default, x, s.weight(f"{name}.weight", heads * head, width), given, module=name))
    return lowered(s.case(*(split(s, one, heads, head) for one in made)))


def places(graph: Graph) -> list[tuple[object, object]]:
    """Where the heads of each part begin, and how many there are."""
    return [(n.attribute("start"), n.attribute("length")) for n in graph.nodes if n.op is narrow]


@pytest.mark.parametrize(
    ("heads", "head", "banks", "starts"),
    [
        (12, 64, 12, (0, 12, 24)),
        (12, 64, 8, (0, 12, 24)),
        (12, 64, 7, (0, 14, 28)),
        (4, 32, 12, (0, 12, 24)),
        (3, 96, 7, (0, 7, 14)),
        (5, 64, 8, (0, 8, 16)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_parts_begin_in_the_first_bank(heads: int, head: int, banks: int, starts: tuple[int, ...], bias: bool) -> None:
    graph = fused(HeadsAsViews(banks), step(heads=heads, head=head, bias=bias), Stage.TTNN)
    assert places(graph) == [(start, heads) for start in starts]
    assert all(start * head // 32 % banks == 0 for start in starts)
    assert ops_of(graph) == ["ttnn.linear", VIEW, "ttnn.narrow", "ttnn.narrow", "ttnn.narrow"]


@pytest.mark.parametrize("batch", [1, 3])
def test_one_part_is_a_view(batch: int) -> None:
    graph = fused(HeadsAsViews(12), step("q", batch), Stage.TTNN)
    assert ops_of(graph) == ["ttnn.linear", "ttnn.reshape", VIEW]


def test_weights_that_need_no_padding_stay() -> None:
    case = step(heads=4)
    graph = fused(HeadsAsViews(4), case, Stage.TTNN)
    assert set(graph.expressions.values()) == set(case.graph.expressions.values())


def with_output(place: int) -> Case:
    case = step()
    value = case.graph.nodes[place].result
    return replace(case, graph=replace(case.graph, outputs=(*case.graph.outputs, Port("columns", value))))


def test_columns_in_their_new_shape_that_are_read_elsewhere_too() -> None:
    assert [why for _, why in near_misses(HeadsAsViews(1), with_output(1).graph)] == ["its columns are read elsewhere"]


def test_padding_that_costs_more_than_a_program_is_refused() -> None:
    rows = MOST_PADDED // (2 * HEAD * 4) // 32 * 32  # of float32, a head of padding after queries and one after keys
    assert places(HeadsAsViews(2).run(step(heads=1, width=rows).graph)) == [(0, 1), (2, 1), (4, 1)]
    large = step(heads=1, width=rows + 32)
    assert HeadsAsViews(2).run(large.graph) is large.graph
    padding = 2 * HEAD * 4 * (rows + 32)
    assert [why for _, why in near_misses(HeadsAsViews(2), large.graph)] == [
        f"{padding} bytes of padding would be read"
    ]


def test_a_part_taken_one_head_early_shows() -> None:
    case = step()
    graph = HeadsAsViews(4).run(case.graph)
    early = tuple(
        replace(n, attributes=tuple({**dict(n.attributes), "start": 3}.items())) if n.attribute("start") == 4 else n
        for n in graph.nodes
    )
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(replace(graph, nodes=early)), case.run())


def test_heads_of_a_row_that_fill_no_tile_have_no_view() -> None:
    """The table's entry refuses what would mix data up, whoever asks."""
    from compiler.dialects.ttnn.inference import infer_types
    from compiler.dialects.ttnn.shape import view

    (row,) = (port.value.type for port in step(width=64).graph.inputs)
    for shape in ((1, 4, 1, 16), (1, 1, 2, 32)):
        with pytest.raises(ValueError, match="is no row of whole tiles"):
            infer_types(view, ("input_tensor",), (row,), (("shape", shape),))
    assert changed(HeadsAsViews(1), step(), Stage.TTNN).nodes[1].op is view
