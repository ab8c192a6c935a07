"""``torch.export`` of a component, once, with its lengths left symbolic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from compiler import torch_state
from compiler.errors import UnsupportedModel
from compiler.speecht5.components import Component

MODEL = "model."
"""Where a component keeps the model: cut off the names of parameters and modules."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced component: ``symbols`` maps the names of its lengths to the symbols in the program's shapes."""

    name: str
    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    symbols: Mapping[str, Any]
    lock: Lock = field(default_factory=Lock, compare=False, repr=False)
    """Held while the program is read: its symbols remember what was asked of them."""

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The parameters and buffers that the trace refers to, by their names in the model."""
        tensors = {**self.program.state_dict, **self.program.constants}
        return {n.removeprefix(MODEL): t.detach() for n, t in tensors.items() if isinstance(t, torch.Tensor)}


def trace(component: Component) -> Traced:
    """Trace a component. ``UnsupportedModel`` where ``torch.export`` cannot."""
    dims = {
        n: Dim(n, min=2, max=component.limits.get(n))
        for by_index in component.lengths.values()
        for n in by_index.values()
        if n not in component.multiples
    }
    dims |= {n: times * dims[other] for n, (other, times) in component.multiples.items()}
    shapes = {
        name: {index: dims[length] for index, length in component.lengths.get(name, {}).items()} or None
        for name in component.inputs
    }
    arguments, dynamic = _pack(component.inputs), _pack(shapes)
    try:
        with torch_state.tracing() as mode:
            program = torch.export.export(
                component.module, tuple(arguments.values()), dynamic_shapes=tuple(dynamic.values()), strict=False
            )
            if mode.remade:
                program.graph.eliminate_dead_code()
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedModel(
            f"torch.export could not trace the {component.name}: {reason}. If the model's code was changed, undo the "
            "change or report the model's class and configuration."
        ) from error
    for spec in program.graph_signature.input_specs:
        if spec.kind is InputKind.CONSTANT_TENSOR:  # found in a closure: not in the snapshot, and its owner may write
            program.constants[spec.target] = program.constants[spec.target].clone()
    return Traced(component.name, program, tuple(component.inputs), component.outputs, _symbols(program, component))


def _pack(by_name: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the component's ``forward`` takes them: all caches in one tuple."""
    packed = {name: value for name, value in by_name.items() if not name.endswith("_cache")}
    caches = tuple(value for name, value in by_name.items() if name.endswith("_cache"))
    return packed | ({"caches": caches} if caches else {})


def _symbols(program: ExportedProgram, component: Component) -> dict[str, Any]:
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    user_inputs = placeholders[len(placeholders) - len(component.inputs) :]
    symbols: dict[str, Any] = {}
    for name, node in zip(component.inputs, user_inputs, strict=True):
        for index, length in component.lengths.get(name, {}).items():
            symbols[length] = node.meta["val"].shape[index].node.expr
    return symbols
