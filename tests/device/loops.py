"""The decoding loop as tests send it to the process in which ttnn runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

import compiler
from compiler.runtime.reference import ReferenceExecutor
from compiler.target.boards import fitting
from tests.device.inside import Report
from tests.models import speaker, tokens
from tests.shared import shared

TRACING = ("begin_trace_capture", "end_trace_capture", "execute_trace", "release_trace")


@cache
def compiled(
    board: str, batch: int, postnet: str = "bucket", enable: tuple[str, ...] = ()
) -> compiler.CompiledSpeechT5:
    one_layer = {"encoder_layers": 1, "decoder_layers": 1}
    plan = {"precision": "bfloat16", "board": board, "enable": enable}
    # A plan of its own, whose graphs no other test has made ready on the device.
    return shared(one_layer, batch_size=batch, postnet=postnet, **plan)[1].with_plan()


@dataclass(frozen=True)
class Utterance:
    """What one call of ``generate_speech`` gave, and left on the device."""

    speech: torch.Tensor
    attentions: torch.Tensor | None
    told: tuple[int, ...]
    programs: int
    dram: int


def speak(
    executor: Any,
    report: Report,
    batch: int,
    steps: int,
    read_every: int,
    attentions: bool,
    utterances: int,
    postnet: str = "bucket",
    enable: tuple[str, ...] = (),
) -> list[Utterance]:
    """Say the same so many times, for ``steps`` steps: a mock computes zeros, which would never stop."""
    import ttnn

    said = []
    for _ in range(utterances):
        told: list[int] = []

        def heard(step: int, _: int, told: list[int] = told) -> None:
            told.append(step)
            report(f"step {step}")

        made = _generate(
            batch,
            steps,
            executor,
            postnet,
            enable,
            output_cross_attentions=attentions,
            read_every=read_every,
            progress=heard,
        )
        memory = ttnn.get_memory_view(executor.device, ttnn.BufferType.DRAM)
        said.append(
            Utterance(
                made[0] if attentions else made,
                made[1] if attentions else None,
                tuple(told),
                executor.device.num_program_cache_entries(),
                memory.total_bytes_allocated_per_bank,
            )
        )
    return said


def on_the_reference(batch: int, steps: int, postnet: str = "bucket") -> torch.Tensor:
    """The same speech by the reference executor, in this process."""
    speech: torch.Tensor = _generate(batch, steps, ReferenceExecutor(), postnet)
    return speech


def _board(executor: Any) -> str:
    """What to plan for: the executor's device, or any board where there is none."""
    if not hasattr(executor, "binder"):
        return "n150"
    spec = executor.binder.spec
    return fitting(spec.cores, spec.banks)[0]


@dataclass(frozen=True)
class Streamed:
    """What a stream gave, chunk by chunk: frames, and how many programs there were then. What it left in DRAM."""

    frames: tuple[int, ...]
    programs: tuple[int, ...]
    dram: int


def stream(executor: Any, report: Report, steps: int, read_every: int, chunks: int | None, postnet: str) -> Streamed:
    """Stream so many steps, and close the stream after ``chunks``."""
    import ttnn

    given = _asked(1, steps, executor, postnet)
    speech = given.pop("compiled").stream_speech(**given, read_every=read_every, generator=torch.Generator())
    frames, programs = [], []
    for chunk in speech:
        report(f"{len(chunk)} frames")
        frames.append(len(chunk))
        programs.append(executor.device.num_program_cache_entries())
        if len(frames) == chunks:
            speech.close()
    memory = ttnn.get_memory_view(executor.device, ttnn.BufferType.DRAM)
    return Streamed(tuple(frames), tuple(programs), memory.total_bytes_allocated_per_bank)


def _asked(
    batch: int, steps: int, executor: Any, postnet: str = "bucket", enable: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A compiled model and arguments with which it says so many steps."""
    chosen, length = compiled(_board(executor), batch, postnet, enable), 12
    rows, ratio = batch * executor.replicas, steps * chosen.config.reduction_factor / length
    return {
        "compiled": chosen,
        "input_ids": tokens(chosen.config, length, rows=rows),
        "speaker_embeddings": speaker(chosen.config, rows=rows),
        "minlenratio": ratio,
        "maxlenratio": ratio,
        "executor": executor,
    }


def _generate(
    batch: int, steps: int, executor: Any, postnet: str = "bucket", enable: tuple[str, ...] = (), **options: Any
) -> Any:
    given = _asked(batch, steps, executor, postnet, enable)
    return given.pop("compiled").generate_speech(**given, generator=torch.Generator().manual_seed(0), **options)


def speak_with_a_tape(
    executor: Any, report: Report, steps: int, stop_at: int | None, streamed: bool = False
) -> list[str]:
    """Speak with replayed steps, where capturing is only written down: a mock crashes when a trace is captured."""
    import ttnn

    tape: list[str] = []
    saved = {name: getattr(ttnn, name) for name in TRACING}
    for name in TRACING:
        setattr(ttnn, name, lambda *_, name=name, **__: tape.append(name) or name)
    executor.traced = True

    def heard(step: int, _: int) -> None:
        tape.append(f"step {step}")
        if step == stop_at:
            raise KeyboardInterrupt

    try:
        if streamed:
            given = _asked(1, steps, executor)
            for _ in given.pop("compiled").stream_speech(**given, progress=heard):
                tape.append("chunk")
        else:
            _generate(1, steps, executor, progress=heard)
    except KeyboardInterrupt:
        tape.append("interrupted")
    finally:
        executor.traced = False
        for name, function in saved.items():
            setattr(ttnn, name, function)
    return tape
