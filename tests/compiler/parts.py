"""Small modules to import, the graphs that they become, and the message that refuses them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compiler.errors import UnsupportedOperation
from compiler.frontend.importer import import_program
from compiler.frontend.trace import Traced, trace
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph
from compiler.ir.operation import Stage
from compiler.speecht5.components import Component
from tests.passes.interpret import interpret


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
    file = Path(inspect.getfile(part))
    return f"part ({file.parent.name}/{file.name}:{first + offset})"
