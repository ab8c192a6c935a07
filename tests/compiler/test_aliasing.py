"""Shared memory: what an op says of it holds for its reference, and a write never changes what was read before it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from compiler.dialects.ttnn.attention import typecast
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.op import OPS, TtnnOp
from compiler.dialects.ttnn.position import plus_one
from compiler.dialects.ttnn.shape import to_memory_config
from compiler.ir.aliasing import memory_roots, written
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Port, Value
from compiler.ir.operation import Aliasing
from compiler.ir.settings import ANYWHERE, Placement
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from tests.lowering.outcomes import BY_NAME, all_cases


def shared(result: Tensor, operand: Tensor) -> bool:
    return result.numel() > 0 and result.untyped_storage().data_ptr() == operand.untyped_storage().data_ptr()


@all_cases
def test_an_op_shares_memory_only_where_it_says_so(name: str) -> None:
    """Of every node of every case of the lowering: results are the first operand's memory, or what was written."""
    drawn = BY_NAME[name].sketch()
    executable = Executable(drawn.lowered(DType.FLOAT32), Weights(drawn.parameters))
    results: dict[Value, Tensor] = {}
    constants = {c.value: executable.weight(c) for c in executable.graph.constants}

    def watch(node: Node, made: tuple[Tensor, ...]) -> None:
        results.update(zip(node.results, made, strict=True))
        known = [(place, (constants | results)[v]) for place, v in enumerate(node.operands) if v in constants | results]
        aliases = {place for place, operand in known for result in made if shared(result, operand)}
        assert isinstance(node.op, TtnnOp)
        declared = {0} if node.op.aliasing is not Aliasing.NEVER else set()
        declared |= {place for place, operand in enumerate(node.names) if operand in node.op.writes}
        assert aliases <= declared, node.op.name

    executable.trace(drawn.inputs, watch)


def then_written(op: TtnnOp, type: TensorType, placement: Placement = ANYWHERE) -> Graph:
    """``y = op(x)``, and then one is added to ``x`` in place: ``y`` is what it was."""
    builder, x = Builder(), Value(type)
    (name,) = (n for n in ("input_tensor", "tensor") if n in op.semantics.reference.__code__.co_varnames)
    (y,) = builder.emit(op, [(name, x)], {}, infer_types(op, (name,), (type,), (), placement), [], placement)
    (z,) = builder.emit(plus_one, [("input_tensor", x)], {}, infer_types(plus_one, ("input_tensor",), (type,), ()), [])
    return builder.graph("sketch", [Port("x", x)], [Port("y", y), Port("z", z)])


INDEX = TensorType((1, 32), DType.INT32, Layout.ROW_MAJOR, Memory.DRAM)


@pytest.mark.parametrize(
    ("op", "placement"),
    [
        (typecast, Placement(dtype=DType.UINT32)),
        (to_memory_config, Placement(memory=Memory.L1)),
        *((OPS[f"ttnn.{name}"], ANYWHERE) for name in ("to_layout", "relu")),
    ],
    ids=str,
)
def test_a_later_write_does_not_reach_what_was_made_before(op: TtnnOp, placement: Placement) -> None:
    made = Executable(then_written(op, INDEX, placement), Weights({})).run({"x": torch.full((1, 32), 5)})
    assert set(made["y"].flatten().tolist()) == {5} and set(made["z"].flatten().tolist()) == {6}


def test_outputs_are_the_callers_own() -> None:
    """A result that is the memory of an input in the reference is handed out as a copy."""
    builder, x = Builder(), Value(INDEX.with_(dtype=DType.FLOAT32, layout=Layout.TILE))
    near = Placement(memory=Memory.L1)
    (y,) = builder.emit(
        to_memory_config,
        [("tensor", x)],
        {},
        infer_types(to_memory_config, ("tensor",), (x.type,), (), near),
        [],
        near,
    )
    executable = Executable(builder.graph("sketch", [Port("x", x)], [Port("y", y)]), Weights({}))
    given = torch.ones(1, 32)
    executable.run({"x": given})["y"].zero_()
    assert bool(given.all())


def test_who_asks_decides_what_is_shared() -> None:
    graph = then_written(typecast, INDEX, Placement(dtype=DType.UINT32))
    cast, counted = graph.nodes
    assert memory_roots(graph)[cast.result] is cast.result
    assert memory_roots(graph, Aliasing.IN_REFERENCE)[cast.result] is graph.input("x")
    assert written(counted) == [("input_tensor", graph.input("x"))] and written(cast) == []
