"""The decoding loop of SpeechT5 over compiled graphs, as transformers' ``_generate_speech`` does it over modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from compiler.compiled import bucket_for
from compiler.errors import SpeechTooLong
from compiler.ir.graph import Role
from compiler.runtime import threads
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor, Handle
from compiler.speecht5.components import dropout_row, frame_width
from compiler.speecht5.dropout import DropoutMasks
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.request import Loop, Request
from compiler.torch_state import computing

if TYPE_CHECKING:
    from compiler.speecht5.limits import Limits

MASKS_AHEAD = 8
"""Steps for which masks are drawn and sent together, where the stop is not read less often than that."""
GraphFor = Callable[..., Executable]
"""Gives the graph of a name for a text and a number of steps."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the loop made.

    A refined spectrogram [frames, mels] a row, and where asked for cross-attentions [layers * batch, heads, steps,
    text].
    """

    spectrograms: tuple[Tensor, ...]
    cross_attentions: Tensor | None
    steps: int


def decode(
    graph: GraphFor, model: Any, options: CompileOptions, limits: Limits, request: Request, loop: Loop
) -> Decoded:
    """Run the loop. Loop limits come from the caller's lengths, never from a bucket's.

    All state stays where the graphs run. The host sends what dropout drops, for ``MASKS_AHEAD`` steps at a time or
    more, and reads the probabilities to stop every ``loop.read_every`` steps. Steps made past the end are not in the
    result, and random numbers drawn for them go back.
    """
    config = model.config
    batch, length = request.ids.shape
    # Far past any table there is no need to tell numbers apart, and a float may not fit an int.
    minlen, maxlen = (
        int(min(length * ratio / config.reduction_factor, 2.0**31)) for ratio in (loop.minlenratio, loop.maxlenratio)
    )
    suffix = "_attentions" if loop.output_cross_attentions else ""
    executor = loop.executor
    state = _prepare(graph, config, options, limits, request, executor, suffix)
    masks = DropoutMasks(
        config.speech_decoder_prenet_layers,
        config.speech_decoder_prenet_units,
        config.speech_decoder_prenet_dropout,
        loop.generator,
    )
    attentions: list[Tensor] = []
    ends: dict[int, int] = {}
    states: list[Tensor] = []
    done = bucket = sent = 0
    with ExitStack() as ready:
        while len(ends) < batch:
            if done == limits.steps:
                masks.draw(done + 1)  # transformers draws, too, before it looks up the position that is not there
                raise SpeechTooLong(
                    f"decoding reached step {done + 1}, and the model was compiled for {limits.steps} "
                    f"(its table of speech positions has {config.max_speech_positions}): split the text, "
                    f"or stop earlier with a lower {'minlenratio' if minlen > limits.steps else 'maxlenratio'}"
                )
            if done == bucket:
                bucket = bucket_for(done + 1, limits.step_buckets)
                executable = graph(f"decoder_step{suffix}", text=length, steps=done + 1)
                ready.close()
                rows = executable.graph.input("dropout_rows").type.shape
                table = torch.zeros(rows, dtype=torch.float32, device="cpu")
                stepping = executor.stepping(executable, _in_bucket(executable, executor, state, table))
                state = ready.enter_context(closing(stepping)).state
            count = min(loop.read_every, bucket - done, limits.steps - done)
            if sent < done + count:
                until = min(max(done + count, sent + MASKS_AHEAD), bucket, limits.steps)
                for step in range(sent, until):
                    kept = masks.draw(step + 1)
                    with computing():  # it asks a module, which is another while someone traces
                        table[step] = dropout_row(model, kept)
                    states.append(masks.state)
                executor.overwrite(state["dropout_rows"], table, executable.graph.input("dropout_rows").type)
                sent = until
            for step in range(done + 1, done + count + 1):
                out = stepping.step()
                if loop.output_cross_attentions:
                    made = executor.read(out["cross_attentions"])
                    attentions.append(_rows(made, executor.replicas, options.batch_size, batch)[..., :length])
                if loop.progress is not None:
                    loop.progress(step, max(maxlen, minlen, 1))
            if done + count >= minlen:
                # Compared as a whole: beside a single probability, a threshold of more bits would count with all.
                stops = _stops(config, executor, out, done, count)[:batch] >= loop.threshold
                for row, step in ((row, step) for step in range(done, done + count) for row in range(batch)):
                    if step + 1 >= minlen and (step + 1 >= maxlen or bool(stops[row, step - done])):
                        ends.setdefault(row, step + 1)
            done += count
    last = max(ends.values())
    if last < sent:
        masks.rewind(states[last - 1])
    stopped = [ends[row] for row in range(batch)]
    if options.postnet == "exact":
        refined = _refine_each(graph, executor, state["spectrogram_cache"], stopped, bucket)
    else:
        lengths = [end * config.reduction_factor for end in stopped]
        refined = _refine(graph, options, limits, executor, state["spectrogram_cache"], lengths, bucket)
    return Decoded(refined, torch.cat(attentions[:last], 2) if attentions else None, last)


def _prepare(
    graph: GraphFor,
    config: Any,
    options: CompileOptions,
    limits: Limits,
    request: Request,
    executor: Executor,
    suffix: str,
) -> dict[str, Handle]:
    """The encoder, and what else is computed once an utterance: handles by the names of the step's inputs."""
    length = request.ids.shape[1]
    right = bucket_for(length, limits.text_buckets) - length
    ids = functional.pad(request.ids, (0, right), value=config.pad_token_id)
    mask = functional.pad(request.mask, (0, right))
    ids, mask, speakers = (_filled(t, options.batch_size * executor.replicas) for t in (ids, mask, request.speakers))
    given = {"input_ids": ids, "attention_mask": mask, "speaker_embeddings": speakers}
    made: dict[str, Handle] = {}

    def inputs_of(executable: Executable) -> dict[str, Handle]:
        ports = {port.name: port.value.type for port in executable.graph.inputs}
        loaded = {name: executor.load(given[name], type) for name, type in ports.items() if name in given}
        return loaded | {name: handle for name, handle in made.items() if name in ports}

    for name in ("encoder", f"utterance{suffix}"):
        executable = graph(name, text=length)
        made |= executor.run(executable, inputs_of(executable))
    return inputs_of(graph(f"decoder_step{suffix}", text=length))


def _filled(rows: Tensor, batch: int) -> Tensor:
    """``rows`` [n, ...] with the first row repeated up to ``batch`` rows: what is computed for these, nobody reads."""
    return torch.cat([rows, rows[:1].expand(batch - rows.shape[0], *rows.shape[1:])])


def _in_bucket(
    executable: Executable, executor: Executor, state: dict[str, Handle], table: Tensor
) -> dict[str, Handle]:
    """All inputs of a step in its bucket: caches moved there, zeros at the start, room for what dropout drops."""
    inputs = {}
    for port in executable.graph.inputs:
        name, type = port.name, port.value.type
        if name == "dropout_rows":
            inputs[name] = executor.load(table, type)
        elif name not in state:
            rows = type.shape[0] * (1 if Role.SHARED in port.role else executor.replicas)
            zeros = torch.zeros(rows, *type.shape[1:], dtype=type.dtype.on_host, device="cpu")
            inputs[name] = executor.load(zeros, type)
        else:
            inputs[name] = executor.grown(state[name], type) if Role.GROWS in port.role else state[name]
    return inputs


def _stops(config: Any, executor: Executor, out: Mapping[str, Handle], done: int, count: int) -> Tensor:
    """Probabilities to stop of the last ``count`` steps, summed over a step's frames: [batch, count]."""
    if count == 1:
        rows = executor.read(out["stop_probabilities"])
    else:
        rows = executor.read(out["stop_cache"])[:, 0, done : done + count]
    return rows[:, :, config.num_mel_bins :: frame_width(config)].sum(-1)


def _rows(attentions: Tensor, replicas: int, compiled: int, batch: int) -> Tensor:
    """[replicas * layers * compiled batch, ...] to [layers * batch, ...], without the rows that fill up the batch."""
    by_device = attentions.view(replicas, -1, compiled, *attentions.shape[1:])
    return by_device.transpose(0, 1).flatten(1, 2)[:, :batch].flatten(0, 1).clone()


def _refine(
    graph: GraphFor,
    options: CompileOptions,
    limits: Limits,
    executor: Executor,
    spectrogram: Handle,
    lengths: list[int],
    bucket: int,
) -> tuple[Tensor, ...]:
    """The post-net on all rows at once, each masked at its own end; ``spectrogram`` holds ``bucket`` steps."""
    executable = graph("postnet", steps=min(bucket, limits.steps))
    type = executable.graph.input("frame_mask").type
    ends = torch.tensor(lengths, device="cpu")[:, None]
    mask = (torch.arange(type.shape[1], device="cpu") < ends).to(torch.float32)
    inputs = {
        "spectrogram": spectrogram,
        "frame_mask": executor.load(_filled(mask, options.batch_size * executor.replicas)[..., None], type),
    }
    refined = executor.read(executor.run(executable, inputs)["refined_spectrogram"])
    return tuple(refined[row, :length].clone() for row, length in enumerate(lengths))


def _refine_each(
    graph: GraphFor, executor: Executor, spectrogram: Handle, stopped: list[int], bucket: int
) -> tuple[Tensor, ...]:
    """The post-net of the very length of each row: a run for each step at which rows stopped, that keeps only these."""
    refined: dict[int, Tensor] = {}
    for end in dict.fromkeys(stopped):
        executable = graph("postnet", steps=end, cache=bucket)
        made = executor.read(executor.run(executable, {"spectrogram": spectrogram})["refined_spectrogram"])
        refined |= {row: made[row].clone() for row, stop in enumerate(stopped) if stop == end}
    return tuple(refined[row] for row in range(len(stopped)))


def sound_of(vocoder: Callable[[Tensor], Tensor], spectrogram: Tensor) -> Tensor:
    """What a vocoder makes, with torch as in the graphs."""
    with computing(), threads.at_most(threads.for_vocoder(vocoder)):
        return vocoder(spectrogram)


def arrange(
    decoded: Decoded,
    vocoder: Callable[[Tensor], Tensor] | None,
    output_cross_attentions: bool,
    return_output_lengths: bool,
) -> Any:
    """The results as transformers returns them."""
    rows = decoded.spectrograms
    batch, lengths = len(rows), [row.shape[0] for row in rows]
    padded = pad_sequence(list(rows), batch_first=True)
    if not return_output_lengths:
        spectrogram = rows[0] if batch == 1 else padded
        result: Any = spectrogram if vocoder is None else sound_of(vocoder, spectrogram)
    elif vocoder is None:
        result = (padded, lengths)
    else:
        sound = sound_of(vocoder, padded)
        result = (sound, [int(sound.size(1) / max(lengths)) * length for length in lengths])
    if not output_cross_attentions:
        return result
    attentions = decoded.cross_attentions
    assert attentions is not None
    if batch > 1 or return_output_lengths:
        attentions = attentions.view(batch, -1, *attentions.shape[-3:])
    return (*result, attentions) if return_output_lengths else (result, attentions)
