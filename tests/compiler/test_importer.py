"""From a traced module to a graph: mutation made functional, what is refused, and one trace at several lengths."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from compiler.errors import UnsupportedModel, UnsupportedOperation
from compiler.frontend.importer import import_program
from compiler.frontend.trace import Traced, trace
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph
from compiler.ir.operation import Origin, Stage
from compiler.speecht5.components import Component
from tests.passes.interpret import interpret, ops_of


class Part(nn.Module):
    """Has something of everything. A test gives it a ``forward``: lines of such a method are what torch remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.count = nn.Buffer(torch.zeros(1))
        self.table = nn.Parameter(torch.linspace(-1, 1, 24).view(6, 4))


class Whole(nn.Module):
    """Holds a part, so that origins have a path."""

    def __init__(self, part: type[Part]) -> None:
        super().__init__()
        self.part = part()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        made = self.part(x)
        return made if isinstance(made, tuple) else (made,)


def traced(part: type[Part], outputs: int = 1, training: bool = False) -> Traced:
    names = tuple(f"y{i}" for i in range(outputs))
    return trace(Component("whole", Whole(part).train(training), {"x": torch.zeros(4, 4)}, {}, names))


def imported(part: type[Part], outputs: int = 1) -> Graph:
    """The graph of a part, after checking that it computes what the part does and writes nothing."""
    program = traced(part, outputs)
    graph = import_program(program, {})
    check_graph(graph, Stage.ATEN)
    assert not any(n.op.overload._schema.is_mutable for n in graph.nodes)
    x = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    want = Whole(part).double().eval()(x.clone())
    got = interpret(graph, program.parameters, {"x": x})
    for name, tensor in zip(got, want, strict=True):
        torch.testing.assert_close(got[name], tensor)
    return graph


def refused(part: type[Part], **options: Any) -> str:
    with pytest.raises(UnsupportedOperation) as error:
        import_program(traced(part, **options), {})
    return str(error.value)


def place(part: type[Part], text: str) -> str:
    """Where ``part`` says ``text``: module path and source line, as messages give it."""
    lines, first = inspect.getsourcelines(part)
    (offset,) = (i for i, line in enumerate(lines) if text in line)
    return f"part ({Path(__file__).parent.name}/{Path(__file__).name}:{first + offset})"


# What is imported.


class AddInPlace(Part):
    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y.add_(1)
        return y - x


class WriteRows(Part):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[torch.tensor([0, 2])] = x[:2] * 5
        return y


class WriteTwice(Part):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = x.clone()
        z = y.add_(1)
        before = z * 10
        y.mul_(2)
        return before, y, z


class WriteIntoTheInput(Part):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(3)
        return x + 1


class DropNothing(Part):
    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(functional.dropout(x, 0.3, False)) + 1


@pytest.mark.parametrize(
    ("part", "outputs", "want"),
    [
        (AddInPlace, 1, ["mul", "add", "sub"]),
        (WriteTwice, 3, ["clone", "add", "mul", "mul"]),
        (WriteIntoTheInput, 1, ["mul", "add"]),
        (DropNothing, 1, ["dropout", "dropout", "add"]),
    ],
)
def test_mutation_becomes_a_function(part: type[Part], outputs: int, want: list[str]) -> None:
    assert ops_of(imported(part, outputs)) == want


def test_writing_rows_by_index() -> None:
    assert "index_put" in ops_of(imported(WriteRows))


def test_origins_are_module_and_source_line() -> None:
    graph = imported(AddInPlace)
    assert [str(node.origins[0]) for node in graph.nodes] == [
        place(AddInPlace, text) for text in ("x * 2", "y.add_", "y - x")
    ]
    assert all(isinstance(o, Origin) and o.module == "part" for n in graph.nodes for o in n.origins)


class AddTables(Part):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[:4] + torch.tensor([1.0, 2.0, 3.0, 4.0])


def test_constants_are_named_as_in_the_model() -> None:
    graph = imported(AddTables)
    names = sorted(str(c.expression) for c in graph.constants)
    assert names == ["f32[4]{1.0, 2.0, 3.0, 4.0}", "part.table"]


# What is refused.


class RandomEverywhere(Part):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        noise = torch.rand(4, 4)
        coins = torch.bernoulli(x.sigmoid())
        dropped = functional.dropout(x, 0.3, True)
        return noise, coins, dropped


class WriteThroughAView(Part):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 0].add_(1)
        return y


class WriteUnderAView(Part):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        view = y.view(-1)
        y.mul_(2)
        return view


class WriteOut(Part):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        torch.add(x, 1, out=y)
        return y


class RandomAndWritten(Part):
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = x.clone()
        y[:, 0].add_(1)
        y[:, 1].mul_(2)
        return torch.rand(4, 4), x + 1


class ReadOn(Part):
    def forward(self, x: Tensor) -> Tensor:
        noisy = x + torch.rand(4, 4)
        return torch.bernoulli(noisy.sigmoid())


ADVICE = ". A compiled graph is a function: make what is random or kept between calls an input of the traced module."


def test_random_ops_are_all_listed_with_module_and_line() -> None:
    message = refused(RandomEverywhere, outputs=3, training=True)
    assert message == (
        "the whole cannot be compiled: "
        f"aten.rand.default at {place(RandomEverywhere, 'torch.rand')} is random; "
        f"aten.bernoulli.default at {place(RandomEverywhere, 'torch.bernoulli')} is random; "
        f"aten.dropout.default at {place(RandomEverywhere, 'functional.dropout')} is random{ADVICE}"
    )


class Drop(Part):
    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x)


def test_dropout_in_training_is_random() -> None:
    assert "aten.dropout.default at part.dropout (dropout.py:" in refused(Drop, training=True)


@pytest.mark.parametrize(
    ("part", "op", "text"),
    [
        (WriteThroughAView, "aten.add_.Tensor", "add_"),
        (WriteUnderAView, "aten.mul_.Tensor", "mul_"),
    ],
)
def test_writing_what_shares_memory(part: type[Part], op: str, text: str) -> None:
    assert refused(part) == (
        f"the whole cannot be compiled: {op} at {place(part, text)} writes into a tensor that shares memory "
        f"with another{ADVICE}"
    )


def test_writing_by_an_op_with_no_other_form() -> None:
    assert refused(WriteOut) == (
        f"the whole cannot be compiled: aten.add.out at {place(WriteOut, 'torch.add')} writes in place and has no "
        f"form that does not{ADVICE}"
    )


def test_random_and_mutating_ops_are_listed_in_one_message() -> None:
    message = refused(RandomAndWritten, outputs=2)
    listed = message.removeprefix("the whole cannot be compiled: ").removesuffix(ADVICE).split("; ")
    assert listed == [
        f"aten.add_.Tensor at {place(RandomAndWritten, 'add_')} writes into a tensor that shares memory with another",
        f"aten.mul_.Tensor at {place(RandomAndWritten, 'mul_')} writes into a tensor that shares memory with another",
        f"aten.rand.default at {place(RandomAndWritten, 'torch.rand')} is random",
    ]


def test_ops_that_read_what_was_refused_are_looked_at_too() -> None:
    message = refused(ReadOn)
    assert "aten.rand.default" in message and "aten.bernoulli.default" in message


class WriteThroughAChunk(Part):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        first, _second = y.chunk(2)
        first.add_(1)
        return y


def test_writing_through_one_of_several_views() -> None:
    assert "shares memory with another" in refused(WriteThroughAChunk)


class WriteAList(Part):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        torch._foreach_add_([y], 1)
        return y


def test_writing_by_an_op_that_returns_nothing() -> None:
    assert "_foreach_add_" in refused(WriteAList)


class CountCalls(Part):
    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)
        return x + self.count


def test_state_that_is_kept_between_calls() -> None:
    assert "count" in refused(CountCalls)


class Attend(Part):
    def forward(self, x: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(x[None], x[None], x[None])[0]


def test_attention_without_dropout_is_not_random() -> None:
    imported(Attend)


class PickColumns(Part):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, torch.tensor([0, 2])]


def test_an_op_that_the_graph_cannot_hold_is_refused() -> None:
    assert "aten.index.Tensor" in refused(PickColumns)


class Branch(Part):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_a_module_that_cannot_be_traced() -> None:
    with pytest.raises(UnsupportedModel, match=r"^torch.export could not trace the whole: .*undo the change or report"):
        traced(Branch)


# Lengths.


class Positions(nn.Module):
    """Adds a row of a table to each position. The table has 8."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Buffer(torch.linspace(-1, 1, 32).view(8, 4))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        length = x.shape[1]
        return (x + self.table[:length]) * mask[:, :, None], torch.arange(length)


@pytest.fixture(scope="module")
def positions() -> Traced:
    inputs = {"x": torch.zeros(1, 3, 4), "mask": torch.ones(1, 3)}
    lengths = {name: {1: "text"} for name in inputs}
    return trace(Component("positions", Positions(), inputs, lengths, ("y", "n"), {"text": 8}))


def sound(length: int) -> tuple[Tensor, Tensor]:
    """Numbers, and a mask that leaves out the first of them."""
    x = torch.randn(1, length, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, (torch.arange(length) > 0).double()[None]


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_one_trace_at_several_lengths(positions: Traced, length: int) -> None:
    graph = import_program(positions, {"text": length})
    check_graph(graph, Stage.ATEN)
    assert [str(p.value.type) for p in graph.inputs] == [f"f32[1,{length},4]", f"f32[1,{length}]"]
    assert "constant_pad_nd" not in ops_of(graph)
    x, mask = sound(length)
    got = interpret(graph, positions.parameters, {"x": x, "mask": mask})
    torch.testing.assert_close(got["y"], Positions().double()(x, mask)[0])
    assert got["n"].tolist() == list(range(length))


def test_past_a_table_of_positions_rows_of_zeros_follow(positions: Traced) -> None:
    graph = import_program(positions, {"text": 12})
    check_graph(graph, Stage.ATEN)
    assert "constant_pad_nd" in ops_of(graph)
    x, mask = sound(12)
    got = interpret(graph, positions.parameters, {"x": x, "mask": mask})["y"]
    table = positions.parameters["table"].double()
    torch.testing.assert_close(got, (x + torch.cat([table, torch.zeros(4, 4)])) * mask[:, :, None])


def test_graphs_of_one_trace_at_one_length_are_equal(positions: Traced) -> None:
    assert import_program(positions, {"text": 5}) == import_program(positions, {"text": 5})
    assert import_program(positions, {"text": 5}) != import_program(positions, {"text": 6})


def test_lengths_that_the_component_does_not_have_are_left_alone(positions: Traced) -> None:
    assert import_program(positions, {"text": 5, "frames": 9}) == import_program(positions, {"text": 5})
