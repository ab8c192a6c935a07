"""Say where the error of a bfloat16 plan's decoder comes from: weights, what came before a step, or the step's nodes.

Each step has Hugging Face's frames. The decoder's states of each step are compared with Hugging Face's in float32:
those of our plan, of Hugging Face's modules in bfloat16, and of those in float32 with weights rounded to bfloat16. For
the last step, each node rounds alone. Usage: ``python scripts/roundings_by_step.py [--full-size] [--steps N]``.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

import compiler
from compiler.frontend.component import share
from compiler.inspect.ladder.records import measure
from compiler.ir.graph import Node
from compiler.runtime.one_rounding import exact
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5.checkpoint import SMALL_VOICE
from compiler.speecht5.quiet import quiet
from compiler.speecht5.verifying import own, subjects
from compiler.speecht5.verifying.ours import STEP, Graphs, block_ends, shaped
from compiler.speecht5.verifying.theirs import DECODER, hooked


@contextmanager
def watched(model: Any) -> Iterator[list[Tensor]]:
    """What the decoder's layers give at the end, step by step."""
    found: list[Tensor] = []
    module = dict(model.named_modules())[DECODER]
    hook = module.register_forward_hook(lambda _, __, out: found.append(out.last_hidden_state[0, -1].double()))
    yield found
    hook.remove()


def main(full_size: Annotated[bool, typer.Option("--full-size")] = False, steps: int = 50) -> None:
    """Print a row for each way to round, and one for each node and each op."""
    with quiet():
        compiled: Any = compiler.compile_speecht5(SMALL_VOICE, precision="bfloat16")
        source = None if full_size else str(SMALL_VOICE)
        compiled, subject = subjects.of(compiled, source, None, None, 0, steps)
        said = (subject.ids, subject.speaker, subject.seed, steps)
        exactly = share(compiled.source.model)
        with watched(exactly) as want:
            long = hooked(exactly, None, *said)
        rounded = own.own(compiled).model
        sides = {}
        for name, dtype in (("Hugging Face in bfloat16", torch.bfloat16), ("its weights in bfloat16", torch.float32)):
            with watched(rounded.to(dtype)) as sides[name]:
                hooked(rounded, None, *said, feed=lambda step, _: long.frames[step])
        graphs = Graphs(compiled, ReferenceExecutor(), long)
        ours: list[Tensor] = []
        graphs.steps(graphs.encoded(), steps, seen=lambda _: ours.append(graphs.block(DECODER)[-1].double()))
    for name, found in {"ours": ours, **sides}.items():
        errors = [measure(got, wanted).error for got, wanted in zip(found, want, strict=True)]
        off = float((found[-1] - want[-1]).norm() / want[-1].norm())
        print(
            f"{name}: median {statistics.median(errors):.1e}, at most {max(errors):.1e}, more than 2e-2 in "
            f"{sum(error > 2e-2 for error in errors)} of {steps} steps; last step {errors[-1]:.1e}, rms {off:.1e}"
        )
    nodes(graphs, want[-1])


def nodes(graphs: Graphs, want: Tensor) -> None:
    """Print what each node's rounding alone does to the last step."""
    executable = graphs.graph(STEP)
    given = {port.name: graphs.given[STEP][port.name] for port in executable.graph.inputs}
    (end,) = (node for node, names in block_ends(executable.graph, [DECODER]).items() if DECODER in names)

    def made(*rounding: Node) -> Tensor:
        found: list[Tensor] = []
        changed = executable.with_calls(lambda call: call if call.node in rounding else exact(call))
        changed.trace(given, lambda node, results: found.append(results[0].clone()) if node is end else None)
        return shaped(found[0], want[None]).double()[0]

    none = made()
    print(f"last step with no rounding in it: {measure(none, want).error:.1e}")
    print(f"its nodes' roundings: {measure(made(*executable.graph.nodes), none).error:.1e}")
    alone = {node: made(node) for node in executable.graph.nodes}
    squares = defaultdict(list)
    for node, got in alone.items():
        if not torch.equal(got, none):
            squares[node.op.name].append(float((got - none).square().sum()))
    whole = sum(map(sum, squares.values()))
    for name, each in sorted(squares.items(), key=lambda pair: -sum(pair[1])):
        print(f"{name}: {len(each)} nodes, {sum(each) / whole:.2f} of the sum of squares")
    for node in sorted(alone, key=lambda node: -measure(alone[node], none).error)[:8]:
        print(f"{node.results[0].name} alone: {measure(alone[node], none).error:.1e}, {node.origins[0].module}")


if __name__ == "__main__":
    typer.run(main)
