"""From a traced module to a graph: mutation made functional, what is refused, and one trace at several lengths."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from compiler.errors import UnsupportedModel
from compiler.ir.operation import Origin
from tests.compiler.parts import Part, imported, place, refused, traced
from tests.passes.interpret import ops_of

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
