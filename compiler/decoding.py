"""The decoding loop of SpeechT5 over compiled graphs, as transformers' ``_generate_speech`` does it over modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from compiler.buckets import bucket_for
from compiler.components import cache_names
from compiler.dropout import DropoutMasks
from compiler.errors import InvalidArgument, SpeechTooLong
from compiler.executor import Executable
from compiler.options import CompileOptions

if TYPE_CHECKING:
    from compiler.speecht5 import Limits

TOKEN_DTYPES = (torch.int64, torch.int32, torch.int16, torch.uint8)
GraphFor = Callable[..., Executable]
"""Gives the graph of a name for a text and a number of steps."""


@dataclass(frozen=True, slots=True)
class Request:
    """Checked arguments of one call.

    ``ids`` int64 [batch, text], ``mask`` float32 [batch, text], ``speakers`` float32 [batch, dim].
    """

    ids: Tensor
    mask: Tensor
    speakers: Tensor

    @classmethod
    def checked(
        cls,
        config: Any,
        options: CompileOptions,
        limits: Limits,
        input_ids: Tensor,
        speaker_embeddings: Tensor | None,
        attention_mask: Tensor | None,
    ) -> Request:
        """Raises ``InvalidArgument`` for what cannot be spoken, before anything is computed."""
        if not isinstance(input_ids, Tensor) or input_ids.dim() != 2 or input_ids.dtype not in TOKEN_DTYPES:
            raise InvalidArgument(f"input_ids: a tensor of token ids [batch, text] is expected, got {_say(input_ids)}")
        batch, length = input_ids.shape
        if batch == 0 or length == 0:
            raise InvalidArgument(f"input_ids are empty ({batch} texts of {length} tokens): there is nothing to say")
        if batch > options.batch_size:
            raise InvalidArgument(
                f"{batch} texts in a batch, the model was compiled for {options.batch_size}: "
                f"split the batch or compile with batch_size={batch}"
            )
        if length > limits.text:
            raise InvalidArgument(
                f"the text has {length} tokens, the longest that the model was compiled for has {limits.text} "
                f"(its table of positions has {config.max_text_positions}): split the text"
            )
        if int(input_ids.min()) < 0 or int(input_ids.max()) >= config.vocab_size:
            raise InvalidArgument(f"input_ids: token ids from 0 to {config.vocab_size - 1} are expected")
        if attention_mask is None:
            attention_mask = input_ids != config.pad_token_id
        elif not isinstance(attention_mask, Tensor) or attention_mask.shape != input_ids.shape:
            raise InvalidArgument(
                f"attention_mask: zeros and ones of shape {tuple(input_ids.shape)} are expected, "
                f"got {_say(attention_mask)}"
            )
        speakers = _checked_speakers(config, speaker_embeddings, batch)
        return cls(input_ids.to(torch.int64), (attention_mask != 0).to(torch.float32), speakers)


def _checked_speakers(config: Any, embeddings: Tensor | None, batch: int) -> Tensor:
    dim = config.speaker_embedding_dim
    if embeddings is None:
        raise InvalidArgument(
            f"speaker_embeddings are missing: float [batch, {dim}] (or [1, {dim}]) say whose voice it is"
        )
    if not isinstance(embeddings, Tensor) or embeddings.shape[1:] != (dim,) or embeddings.is_complex():
        raise InvalidArgument(f"speaker_embeddings: a tensor [batch or 1, {dim}] is expected, got {_say(embeddings)}")
    if embeddings.shape[0] not in (1, batch):
        raise InvalidArgument(f"speaker_embeddings: 1 row or {batch} are expected, got {embeddings.shape[0]}")
    embeddings = embeddings.detach().to(torch.float32)
    if not bool(embeddings.isfinite().all()):
        raise InvalidArgument("speaker_embeddings hold numbers that are infinite or not a number")
    return embeddings.expand(batch, -1)


def _say(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return type(value).__name__


@dataclass(frozen=True, slots=True)
class Loop:
    """How long to go on, and what to report on the way; see ``CompiledSpeechT5.generate_speech``."""

    threshold: float
    minlenratio: float
    maxlenratio: float
    output_cross_attentions: bool
    generator: torch.Generator | None
    progress: Callable[[int, int], None] | None

    def __post_init__(self) -> None:
        if self.generator is not None and not isinstance(self.generator, torch.Generator):
            raise InvalidArgument(f"generator: a torch.Generator is expected, got {_say(self.generator)}")
        for name in ("threshold", "minlenratio", "maxlenratio"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise InvalidArgument(f"{name}={value!r}: a number of at least 0 is expected")


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
    graph: GraphFor, config: Any, options: CompileOptions, limits: Limits, request: Request, loop: Loop
) -> Decoded:
    """Run the loop. Loop limits come from the caller's lengths, never from a bucket's."""
    batch, length = request.ids.shape
    # Far past any table there is no need to tell numbers apart, and a float may not fit an int.
    minlen, maxlen = (
        int(min(length * ratio / config.reduction_factor, 2.0**31)) for ratio in (loop.minlenratio, loop.maxlenratio)
    )
    suffix = "_attentions" if loop.output_cross_attentions else ""
    once = _prepare(graph, config, options, limits, request, suffix)
    masks = DropoutMasks(
        config.speech_decoder_prenet_layers,
        config.speech_decoder_prenet_units,
        config.speech_decoder_prenet_dropout,
        loop.generator,
    )
    caches = _empty_caches(config, options, limits.step_buckets[0])
    frame = torch.zeros(options.batch_size, 1, config.num_mel_bins)
    spectra: list[Tensor] = []
    attentions: list[Tensor] = []
    ends: dict[int, int] = {}
    step = 0
    while len(ends) < batch:
        step += 1
        drawn = masks.draw(step)
        if step > limits.steps:
            raise SpeechTooLong(
                f"decoding reached step {step}, and the model was compiled for {limits.steps} "
                f"(its table of speech positions has {config.max_speech_positions}): split the text, "
                f"or stop earlier with a lower {'minlenratio' if minlen > limits.steps else 'maxlenratio'}"
            )
        caches = _grown(caches, bucket_for(step, limits.step_buckets))
        inputs = {"frame": frame, "position": torch.tensor([step - 1]), "dropout_masks": drawn, **once, **caches}
        out = graph(f"decoder_step{suffix}", text=length, steps=step).run(
            inputs, donate=tuple(caches) if step > 1 else ()
        )
        frame, caches = out["frame"], {cache: out[cache] for cache in caches}
        spectra.append(out["spectrum"][:batch])
        if loop.output_cross_attentions:
            attentions.append(_rows(out["cross_attentions"], options.batch_size, batch)[..., :length])
        if loop.progress is not None:
            loop.progress(step, max(maxlen, minlen, 1))
        if step >= minlen:
            stopped = out["stop_probabilities"][:batch].sum(-1) >= loop.threshold
            for row in range(batch):
                if step >= maxlen or bool(stopped[row]):
                    ends.setdefault(row, step)
    spectrogram = torch.stack(spectra, 1).flatten(1, 2)
    lengths = [ends[row] * config.reduction_factor for row in range(batch)]
    refined = _refine(graph, config, options, limits, spectrogram, lengths, step)
    return Decoded(refined, torch.cat(attentions, 2) if attentions else None, step)


def _prepare(
    graph: GraphFor, config: Any, options: CompileOptions, limits: Limits, request: Request, suffix: str
) -> dict[str, Tensor]:
    """The encoder, and what else is computed once an utterance, by the names of the step's inputs."""
    length = request.ids.shape[1]
    right = bucket_for(length, limits.text_buckets) - length
    ids = functional.pad(request.ids, (0, right), value=config.pad_token_id)
    mask = functional.pad(request.mask, (0, right))
    ids, mask, speakers = (_filled(t, options.batch_size) for t in (ids, mask, request.speakers))
    encoded = graph("encoder", text=length).run({"input_ids": ids, "attention_mask": mask})
    given = {"speaker_embeddings": speakers, "attention_mask": mask, **encoded}
    once = graph(f"utterance{suffix}", text=length)
    made = once.run({port.name: given[port.name] for port in once.graph.inputs})
    step = {port.name for port in graph(f"decoder_step{suffix}", text=length).graph.inputs}
    return made | {name: tensor for name, tensor in given.items() if name in step}


def _filled(rows: Tensor, batch: int) -> Tensor:
    """``rows`` [n, ...] with the first row repeated up to ``batch`` rows: what is computed for these, nobody reads."""
    return torch.cat([rows, rows[:1].expand(batch - rows.shape[0], *rows.shape[1:])])


def _empty_caches(config: Any, options: CompileOptions, steps: int) -> dict[str, Tensor]:
    heads = config.decoder_attention_heads
    shape = (options.batch_size, heads, steps, config.hidden_size // heads)
    return {name: torch.zeros(shape) for name in cache_names(config)}


def _grown(caches: dict[str, Tensor], steps: int) -> dict[str, Tensor]:
    """Caches moved to a bucket of ``steps``; the same where they are in it."""
    missing = steps - next(iter(caches.values())).shape[2]
    return {n: functional.pad(c, (0, 0, 0, missing)) for n, c in caches.items()} if missing else caches


def _rows(attentions: Tensor, compiled: int, batch: int) -> Tensor:
    """[layers * compiled batch, ...] with the rows that fill up the batch left out."""
    return attentions.view(-1, compiled, *attentions.shape[1:])[:, :batch].flatten(0, 1)


def _refine(
    graph: GraphFor,
    config: Any,
    options: CompileOptions,
    limits: Limits,
    spectrogram: Tensor,
    lengths: list[int],
    steps: int,
) -> tuple[Tensor, ...]:
    """The post-net on all rows at once, each masked at its own end. ``spectrogram`` [batch, frames, mels]."""
    frames = bucket_for(steps, limits.step_buckets) * config.reduction_factor
    padded = functional.pad(spectrogram, (0, 0, 0, frames - spectrogram.shape[1]))
    mask = (torch.arange(frames) < torch.tensor(lengths)[:, None]).to(torch.float32)
    inputs = {"spectrogram": _filled(padded, options.batch_size), "frame_mask": _filled(mask, options.batch_size)}
    refined = graph("postnet", steps=steps).run(inputs)["refined_spectrogram"]
    return tuple(refined[row, :length].clone() for row, length in enumerate(lengths))


def arrange(
    decoded: Decoded,
    vocoder: Callable[[Tensor], Tensor] | None,
    output_cross_attentions: bool,
    return_output_lengths: bool,
) -> Any:
    """The results as transformers returns them."""
    rows = decoded.spectrograms
    if vocoder is not None:
        vocoder = torch.no_grad()(vocoder)
    batch, lengths = len(rows), [row.shape[0] for row in rows]
    padded = pad_sequence(list(rows), batch_first=True)
    if not return_output_lengths:
        spectrogram = rows[0] if batch == 1 else padded
        result: Any = spectrogram if vocoder is None else vocoder(spectrogram)
    elif vocoder is None:
        result = (padded, lengths)
    else:
        sound = vocoder(padded)
        result = (sound, [int(sound.size(1) / max(lengths)) * length for length in lengths])
    if not output_cross_attentions:
        return result
    attentions = decoded.cross_attentions
    assert attentions is not None
    if batch > 1 or return_output_lengths:
        attentions = attentions.view(batch, -1, *attentions.shape[-3:])
    return (*result, attentions) if return_output_lengths else (result, attentions)
