"""Trace a component with ``torch.export``, once, with symbolic lengths."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from threading import Lock
from typing import Any

import torch
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from compiler import torch_state
from compiler.errors import UnsupportedModel
from compiler.frontend.component import Component
from compiler.ir.graph import Role

MODEL = "model."
"""Prefix of a component's model attribute, which is cut off the names of parameters and modules."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A traced component. ``symbols`` maps the names of its lengths to the symbols in the program's shapes."""

    name: str
    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    symbols: Mapping[str, Any]
    roles: Mapping[str, Role]
    """Roles of inputs, by name; an input without an entry has none."""
    folder: PurePath
    """Folder of the traced module's own code, which replaces parts of the model's code."""
    lock: Lock = field(default_factory=Lock, compare=False, repr=False)
    """Held while the program is read, since its symbols cache the results of queries."""

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """Parameters and buffers that the trace refers to, by their names in the model."""
        tensors = {**self.program.state_dict, **self.program.constants}
        return {n.removeprefix(MODEL): t.detach() for n, t in tensors.items() if isinstance(t, torch.Tensor)}


def trace(component: Component) -> Traced:
    """Trace a component. Raises ``UnsupportedModel`` if ``torch.export`` fails."""
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
    arguments, dynamic = _pack(component, component.inputs), _pack(component, shapes)
    try:
        # Fake tensors are made anew as fast as they are found in torch's cache of them, which hashes symbolic shapes.
        with torch_state.tracing() as mode, torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
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
        if spec.kind is InputKind.CONSTANT_TENSOR:  # from a closure: not in the snapshot, so its owner may write to it
            program.constants[spec.target] = program.constants[spec.target].clone()
    file = getattr(sys.modules[type(component.module).__module__], "__file__", None)  # None in a notebook
    folder = PurePath(file or "").parent
    symbols = _symbols(program, component)
    return Traced(component.name, program, tuple(component.inputs), component.outputs, symbols, component.roles, folder)


def _pack(component: Component, by_name: Mapping[str, Any]) -> dict[str, Any]:
    """Arrange arguments as the component's ``forward`` takes them: those that grow in one tuple."""
    grow = [name for name in by_name if Role.GROWS in component.roles.get(name, Role.NONE)]
    packed = {name: value for name, value in by_name.items() if name not in grow}
    return packed | ({"state": tuple(by_name[name] for name in grow)} if grow else {})


def _symbols(program: ExportedProgram, component: Component) -> dict[str, Any]:
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    user_inputs = placeholders[len(placeholders) - len(component.inputs) :]
    symbols: dict[str, Any] = {}
    for name, node in zip(component.inputs, user_inputs, strict=True):
        for index, length in component.lengths.get(name, {}).items():
            symbols[length] = node.meta["val"].shape[index].node.expr
    return symbols
