"""Measure how far each node of a bfloat16 plan is from float32 arithmetic, on the reference executor."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from compiler.inspect.agreement import Agreement, agreement
from compiler.inspect.checking import drawn
from compiler.ir.graph import Node
from compiler.ir.types import DType
from compiler.runtime.executable import Executable
from compiler.runtime.one_rounding import exact

HOW = "the plan's rounding modelled on the CPU, beside float32 arithmetic on the same weights and drawn inputs"
"""What the figures are, for a title: no device computed them."""


def fidelity(executable: Executable, inputs: Mapping[str, torch.Tensor] | None = None) -> dict[Node, Agreement]:
    """Compare each node's first result with that of the same graph run in float32 arithmetic.

    Errors add up from node to node, as they do on a device. Weights are those that the plan stores, in both runs, so
    that what storing them in fewer bits costs is not in the figures. ``inputs`` are by name, by default drawn as
    :func:`compiler.inspect.checking.drawn` does. Nodes whose results are no floats are left out, and a float32 plan has
    none to compare.
    """
    if executable.dtype is DType.FLOAT32:
        return {}
    given = drawn(executable) if inputs is None else inputs
    wanted: dict[Node, torch.Tensor] = {}
    found: dict[Node, Agreement] = {}

    def keep(node: Node, results: tuple[torch.Tensor, ...]) -> None:
        if node.results[0].type.dtype.is_float:
            wanted[node] = results[0].clone()  # whose memory a later node may write into

    def compare(node: Node, results: tuple[torch.Tensor, ...]) -> None:
        if node in wanted:
            found[node] = agreement(results[0], wanted.pop(node))

    executable.with_calls(exact).trace(given, keep)
    executable.trace(given, compare)
    return found
