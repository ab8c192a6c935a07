"""What tests run over the stand-in, beside the reference executor. All of it returns, or raises."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from compiler import CompiledSpeechT5, CompileOptions
from compiler.device import checks
from compiler.device.findings import Plan
from compiler.inspect.checking import drawn
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.pipeline import OPTIONAL
from compiler.runtime.executable import Executable
from compiler.runtime.reference import ReferenceExecutor
from compiler.runtime.weights import Weights
from compiler.speecht5 import text_to_speech
from tests.device.standin.module import executor_on
from tests.device.standin.sums import ExactSums
from tests.fidelity.test_generate_speech import small
from tests.lowering.outcomes import BY_NAME
from tests.models import lively, speaker, tokens

ALL = tuple(sorted(OPTIONAL))
GRAPHS = tuple(name for name in text_to_speech.GRAPHS if not name.endswith("attentions"))
LENGTH = 12
"""Tokens of the text that is spoken."""


@cache
def _traced(batch: int, postnet: str) -> CompiledSpeechT5:
    model = lively(small(encoder_layers=1, decoder_layers=1, max_speech_positions=70))
    options = CompileOptions(precision="bfloat16", board="n150", batch_size=batch, postnet=postnet)
    return CompiledSpeechT5(model, options)


@cache
def compiled(name: str) -> CompiledSpeechT5:
    """One of :data:`PLANS`."""
    batch, postnet, changes = PLANS[name]
    return _traced(batch, postnet).with_plan(**changes)


PLANS: Mapping[str, tuple[int, str, Mapping[str, Any]]] = {
    "one row": (1, "exact", {}),
    "one row, mixed weights, all optional passes": (1, "exact", {"weights": "mixed", "enable": ALL}),
    "two rows": (2, "bucket", {}),
    "two rows, weights in blocks, all optional passes": (2, "bucket", {"weights": "bfloat8_b", "enable": ALL}),
}
"""Plans of a model of one layer each way, by name: rows, post-net, and what is asked for besides."""


def graph_computes(plan: str, name: str) -> None:
    """A graph gives results of the inferred types, node by node, and the reference's numbers, bit for bit."""
    executable = compiled(plan).graph(name, text=LENGTH, steps=20)
    asked = Plan.of(executable, name, drawn(executable))
    computes(executable, asked)


def case_computes(name: str) -> None:
    """The same of a case of the lowering, which has each op."""
    case = BY_NAME[name].sketch()
    executable = Executable(case.lowered(DType.BFLOAT16), Weights(case.parameters))
    computes(executable, Plan.of(executable, name, case.inputs))


def computes(executable: Executable, asked: Plan) -> None:
    with ExactSums():
        executor = executor_on("n150")
        checked = checks.check(executor, lambda _: None, asked)
        assert checked.complaints == ()
        assert checked.ops == checked.accepted == checked.equal
        made = checks.outputs(executor, lambda _: None, asked)
        wanted = executable.run({name: tensor.clone() for name, tensor in (asked.inputs or {}).items()})
    assert all(torch.equal(made[name], wanted[name]) for name in wanted)


def speaks(plan: str, steps: int = 4, *, read_every: int = 1, traced: bool = False, replicas: int = 1) -> None:
    """Speech is the reference's, bit for bit: of each replica its rows'."""
    chosen = compiled(plan)
    rows = chosen.options.batch_size
    config = chosen.config
    ids, voices = tokens(config, LENGTH, rows=rows * replicas), speaker(config, rows=rows * replicas)
    ratio = steps * config.reduction_factor / LENGTH

    def said(executor: Any, share: slice) -> torch.Tensor:
        made: torch.Tensor = chosen.generate_speech(
            ids[share],
            voices[share],
            minlenratio=ratio,
            maxlenratio=ratio,
            generator=torch.Generator().manual_seed(0),
            executor=executor,
            read_every=read_every,
        )
        return made if made.dim() == 3 else made[None]

    with ExactSums():
        made = said(executor_on("n150", replicas, traced=traced), slice(None))
        wanted = [said(ReferenceExecutor(), slice(i * rows, (i + 1) * rows)) for i in range(replicas)]
    assert made.shape[1] == steps * config.reduction_factor
    assert torch.equal(made, torch.cat(wanted))


def replays(plan: str = "one row") -> None:
    """Each replayed step gives the outputs that the reference's step gives, and hands on the same state."""
    executable = compiled(plan).graph("decoder_step", text=LENGTH, steps=20)
    given = drawn(executable)
    types = {port.name: port.value.type for port in executable.graph.inputs}
    with ExactSums():
        executors = executor_on("n150", traced=True), ReferenceExecutor()
        both = [
            executor.stepping(executable, {name: executor.load(given[name], types[name]) for name in types})
            for executor in executors
        ]
        for _ in range(4):
            made, wanted = (
                {name: executor.read(handle).clone() for name, handle in stepping.step().items()}
                for executor, stepping in zip(executors, both, strict=True)
            )
            assert all(torch.equal(made[name], wanted[name]) for name in wanted)
        for stepping in both:
            stepping.close()


def grows() -> None:
    """A cache that is moved to a larger one holds what it held, then zeros."""
    small_cache, large = (TensorType((1, 2, steps, 32), DType.BFLOAT16, Layout.TILE, Memory.DRAM) for steps in (64, 96))
    held = torch.randn(small_cache.shape, generator=torch.Generator().manual_seed(0))
    made, wanted = (
        executor.read(executor.grown(executor.load(held, small_cache), large))
        for executor in (executor_on("n150"), ReferenceExecutor())
    )
    assert torch.equal(made, wanted)
