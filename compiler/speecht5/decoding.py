"""The decoding loop of SpeechT5 over compiled graphs, as transformers' ``_generate_speech`` does it over modules.

It knows graphs and plain data. :class:`DecodingLoop` makes the steps, some at a time; :func:`decode` runs it to the end
and refines what it made, and ``streaming`` hands out sound while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional

from compiler.compiled import bucket_for
from compiler.errors import SpeechTooLong
from compiler.ir.graph import Role
from compiler.ir.types import TensorType
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor, Handle, Stepping
from compiler.speecht5.dropout import DropoutRows
from compiler.speecht5.refining import Unrefined, filled, refine
from compiler.speecht5.request import LoopOptions, Request
from compiler.speecht5.speech_model import SpeechConstants, SpeechModel

MASKS_AHEAD = 8
"""Steps for which masks are drawn and sent together, where the stop is not read less often than that."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the loop made.

    A refined spectrogram [frames, mels] a row, and where asked for cross-attentions [layers * batch, heads, steps,
    text].
    """

    spectrograms: tuple[Tensor, ...]
    cross_attentions: Tensor | None
    steps: int


def decode(model: SpeechModel, request: Request, options: LoopOptions) -> Decoded:
    """Run the loop until every row has ended, and refine what it made. Raises what :class:`DecodingLoop` raises."""
    with closing(DecodingLoop(model, request, options)) as loop:
        while not loop.ended:
            loop.advance()
        made = loop.finish()
        steps = max(made.ends)
        attentions = loop.cross_attentions(0, steps) if options.output_cross_attentions else None
        return Decoded(refine(model, options.executor, made), attentions, steps)


class DecodingLoop:
    """The steps of one batch of utterances, made some at a time.

    All state stays where the graphs run. The host sends what dropout drops, for ``MASKS_AHEAD`` steps at a time or
    more, and reads the probabilities to stop every ``read_every`` steps. Random numbers drawn for steps that are not
    part of the speech go back: at the end those past it, in a pause and where it is closed early those of steps that
    were not made. Limits come from the caller's lengths, never from a bucket's.

    After an exception in :meth:`advance` the state may be between two steps: the loop can only be closed. Then, too,
    the generator is left as after the steps that were made and looked at (``steps``).
    """

    def __init__(self, model: SpeechModel, request: Request, options: LoopOptions) -> None:
        """Run what runs once an utterance."""
        self._model, self._options = model, options
        self._batch, self._length = request.ids.shape
        self._fewest, self._most = _bounds(self._length, model.constants.reduction_factor, options)
        self._rows = DropoutRows(model.constants, options.generator)
        self._bucket = 0
        self._stepping: Stepping | None = None
        self._attentions: list[Tensor] = []
        self._settled = self._failed = False
        self.steps = 0
        """Steps made, and looked at."""
        self.ends: dict[int, int] = {}
        """The steps of rows that have ended, by row."""
        self._state = _prepare(model, request, options)

    @property
    def ended(self) -> bool:
        """Whether all rows have."""
        return len(self.ends) == self._batch

    def advance(self, most: int | None = None) -> None:
        """Make steps up to the next look at the probabilities to stop, or ``most`` of them, and look.

        Raises ``SpeechTooLong`` where the model has no more steps, ``RuntimeError`` after an exception.
        """
        self._check_whole()
        options, limits, done = self._options, self._model.limits, self.steps
        if done == limits.steps:
            self._refuse()
        self._failed = True  # until all of it is done
        if done == self._bucket:
            self._grow()
        count = min(options.read_every, self._bucket - done, limits.steps - done)
        count = count if most is None else min(count, most)
        self._draw(done + count)
        out = self._step(count)
        if done + count >= self._fewest:
            self._look(out, count)
        self.steps += count
        self._failed = False

    def finish(self) -> Unrefined:
        """What was made, up to where each row has ended: there are no more steps. The state is let go in `close`."""
        self._check_whole()
        ends = tuple(self.ends[row] for row in range(self._batch))
        self._rows.rewind(max(ends))
        self._settled = True
        self._stop()
        return Unrefined(self._state["spectrogram_cache"], self._bucket, ends)

    def frames(self, begin: int, end: int) -> Tensor:
        """The frames of the steps from ``begin`` to ``end``, as they make them: float [batch, frames, frame width]."""
        made = self._options.executor.read(self._state["spectrogram_cache"])[: self._batch, 0, begin:end]
        return made.reshape(self._batch, -1, self._model.constants.frame_width).clone()

    def cross_attentions(self, begin: int, end: int) -> Tensor:
        """Those of the steps from ``begin`` to ``end``: float [layers * batch, heads, steps, text]."""
        return torch.cat(self._attentions[begin:end], 2)

    def pause(self) -> None:
        """Leave thread, device and generator to others, until the next step: as after the steps that were made."""
        if not self._settled:
            self._rows.rewind(self.steps)
        if self._stepping is not None:
            self._stepping.pause()

    def close(self) -> None:
        """Let go of all state. The generator is left as after the steps that were made, or that are speech."""
        if not self._settled:
            self._rows.rewind(self.steps)
            self._settled = True
        try:
            self._stop()
        finally:  # a device that does not answer any more may raise
            self._state, self._attentions = {}, []

    @property
    def _suffix(self) -> str:
        return _suffix(self._options)

    def _refuse(self) -> NoReturn:
        limits, table = self._model.limits, self._model.constants.speech_positions
        if not self._settled:
            self._rows.skip()  # transformers draws, too, before it looks up the position that is not there
        self._settled = True
        raise SpeechTooLong(
            f"decoding reached step {self.steps + 1}, and the model was compiled for {limits.steps} "
            f"(its table of speech positions has {table}): split the text, "
            f"or stop earlier with a lower {'minlenratio' if self._fewest > limits.steps else 'maxlenratio'}"
        )

    def _grow(self) -> None:
        """Go on in the next bucket of steps."""
        executor = self._options.executor
        executable = self._model.graph(f"decoder_step{self._suffix}", text=self._length, steps=self.steps + 1)
        self._stop()
        self._table_type = _table_type(executable)
        table = self._rows.begin(self._table_type.shape)
        self._stepping = executor.stepping(executable, _in_bucket(executable, executor, self._state, table))
        self._state = self._stepping.state
        self._bucket = bucket_for(self.steps + 1, self._model.limits.step_buckets)

    def _draw(self, until: int) -> None:
        """Have what dropout drops where the graphs run, for all steps up to ``until``."""
        if self._rows.drawn < until:
            self._rows.draw(min(max(until, self._rows.drawn + MASKS_AHEAD), self._bucket, self._model.limits.steps))
            self._options.executor.overwrite(self._state["dropout_rows"], self._rows.table, self._table_type)

    def _step(self, count: int) -> Mapping[str, Handle]:
        """Make ``count`` steps; the outputs of the last."""
        options = self._options
        out: Mapping[str, Handle] = {}
        assert self._stepping is not None
        for step in range(self.steps + 1, self.steps + count + 1):
            out = self._stepping.step()
            if options.output_cross_attentions:
                made = options.executor.read(out["cross_attentions"])
                rows = _attention_rows(made, options.executor.replicas, self._model.batch_size, self._batch)
                self._attentions.append(rows[..., : self._length])
            if options.progress is not None:
                options.progress(step, max(self._most, self._fewest, 1))
        return out

    def _look(self, out: Mapping[str, Handle], count: int) -> None:
        """Note the rows that ended in the last ``count`` steps."""
        done = self.steps
        stops = _stops(self._model.constants, self._options.executor, out, range(done, done + count))
        # Compared as a whole: beside a single probability, a threshold of more bits would count with all.
        over = stops[: self._batch] >= self._options.threshold
        for row, step in ((row, step) for step in range(done, done + count) for row in range(self._batch)):
            if step + 1 >= self._fewest and (step + 1 >= self._most or bool(over[row, step - done])):
                self.ends.setdefault(row, step + 1)

    def _check_whole(self) -> None:
        if self._failed:
            raise RuntimeError(
                f"an exception left this loop between two steps (after step {self.steps}): close it, and begin another"
            )

    def _stop(self) -> None:
        stepping, self._stepping = self._stepping, None
        if stepping is not None:
            stepping.close()


def _bounds(length: int, reduction: int, options: LoopOptions) -> tuple[int, int]:
    """The fewest and the most steps for a text of ``length`` tokens."""
    # Far past any table there is no need to tell numbers apart, and a float may not fit an int.
    fewest, most = (
        int(min(length * ratio / reduction, 2.0**31)) for ratio in (options.minlenratio, options.maxlenratio)
    )
    return fewest, most


def _suffix(options: LoopOptions) -> str:
    return "_attentions" if options.output_cross_attentions else ""


def _table_type(executable: Executable) -> TensorType:
    return executable.graph.input("dropout_rows").type


def _prepare(model: SpeechModel, request: Request, options: LoopOptions) -> dict[str, Handle]:
    """The encoder, and what else is computed once an utterance: handles by the names of the step's inputs."""
    executor, length = options.executor, request.ids.shape[1]
    right = bucket_for(length, model.limits.text_buckets) - length
    ids = functional.pad(request.ids, (0, right), value=model.constants.pad_token)
    mask = functional.pad(request.mask, (0, right))
    ids, mask, speakers = (filled(t, model.batch_size * executor.replicas) for t in (ids, mask, request.speakers))
    given = {"input_ids": ids, "attention_mask": mask, "speaker_embeddings": speakers}
    made: dict[str, Handle] = {}

    def inputs_of(executable: Executable) -> dict[str, Handle]:
        ports = {port.name: port.value.type for port in executable.graph.inputs}
        loaded = {name: executor.load(given[name], type) for name, type in ports.items() if name in given}
        return loaded | {name: handle for name, handle in made.items() if name in ports}

    for name in ("encoder", f"utterance{_suffix(options)}"):
        executable = model.graph(name, text=length)
        made |= executor.run(executable, inputs_of(executable))
    return inputs_of(model.graph(f"decoder_step{_suffix(options)}", text=length))


def _in_bucket(
    executable: Executable, executor: Executor, state: Mapping[str, Handle], table: Tensor
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


def _stops(constants: SpeechConstants, executor: Executor, out: Mapping[str, Handle], steps: range) -> Tensor:
    """Probabilities to stop of the last ``steps``, summed over a step's frames: [batch, steps]."""
    if len(steps) == 1:
        rows = executor.read(out["stop_probabilities"])
    else:
        rows = executor.read(out["stop_cache"])[:, 0, steps.start : steps.stop]
    return rows[:, :, constants.mel_bins :: constants.frame_width].sum(-1)


def _attention_rows(attentions: Tensor, replicas: int, compiled: int, batch: int) -> Tensor:
    """[replicas * layers * compiled batch, ...] to [layers * batch, ...], without the rows that fill up the batch."""
    by_device = attentions.view(replicas, -1, compiled, *attentions.shape[1:])
    return by_device.transpose(0, 1).flatten(1, 2)[:, :batch].flatten(0, 1).clone()
