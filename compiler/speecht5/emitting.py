"""Write a compiled SpeechT5 as a script of plain TTNN that needs nothing of this project."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from compiler import __version__, arguments
from compiler.device.opening import TRACE_REGION
from compiler.dialects.ttnn.symbols import typed
from compiler.errors import InvalidArgument
from compiler.folder import check_new, made
from compiler.inspect.emit.definitions import TILES
from compiler.inspect.emit.places import place
from compiler.inspect.emit.source import Method, Part, Source
from compiler.inspect.emit.source import written as source_of
from compiler.ir.graph import Graph
from compiler.runtime.executable import Executable
from compiler.speecht5.decoding import MASKS_AHEAD
from compiler.speecht5.dropout import DROPPED
from compiler.speecht5.emitted_state import entries, items, shape_of
from compiler.speecht5.saved_voice import PIECES as SAVED_PIECES
from compiler.speecht5.saved_voice import TOKENIZER
from compiler.speecht5.saving import own_voice, write_tokenizer
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.speecht5.voice import Voice
from compiler.target.boards import BOARDS
from compiler.versions import SUPPORTED

if TYPE_CHECKING:
    from compiler.speecht5.vocoder import CompiledHifiGan

SCRIPT, WEIGHTS, SPEAKERS, PIECES = "speecht5.py", "speecht5.safetensors", "speakers.safetensors", "spm_char.model"
"""Files of the folder."""
WINDOW = 256
"""Frames of the vocoder's window by default: with it, few frames are computed twice."""
TEXT, STEPS = 64, 512
"""Tokens of text and decoder steps that a script is for by default."""


@dataclass(frozen=True)
class Sizes:
    """What a script is for: tokens of text, decoder steps in each bucket, and frames of the vocoder's window."""

    text: int
    steps: tuple[int, ...]
    limit: int
    frames: int


def emit(
    compiled: CompiledSpeechT5,
    folder: str | Path,
    *,
    text: int | None = None,
    steps: int | None = None,
    frames: int | None = None,
    voice: Voice | None = None,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write a script of plain TTNN into a new folder, with its weights, whole or not at all.

    ``speecht5.py`` needs only ttnn, torch and safetensors, and sentencepiece for texts. It speaks as the device
    executor does: it makes the same calls. It is for texts of up to ``text`` tokens, by default 64 or as many as the
    model takes; for up to ``steps`` decoder steps, by default 512, in the buckets below them; and for windows of the
    vocoder of ``frames`` frames, by default 256. Graphs that are not compiled yet are compiled. Tokenizer and speakers
    come from ``voice``, by default from what the model was loaded from. ``progress`` is called with what is being done.

    Raises ``InvalidArgument`` for a plan that no device runs (float32), a batch of more than one row, a post-net that
    is not in buckets, unfit lengths, and a folder that is there; ``UnsupportedOperation`` for what the host computes in
    a way that no script is written for.
    """
    _check_plan(compiled)
    arguments.function("progress", progress)
    target = arguments.path("folder", folder)
    check_new(target)
    sizes = _sizes(compiled, text, steps, frames)
    voice = voice or compiled.voice or own_voice(compiled)
    say = progress or (lambda _: None)
    graphs = _graphs(compiled, sizes, say)
    say("writing the script")
    source = source_of(_parts(graphs, sizes), BOARDS[compiled.options.board].device)
    with made(target) as beside:
        files = _voice_files(voice, beside)
        (beside / SCRIPT).write_text(_script(compiled, sizes, graphs, source, files), encoding="utf-8")
        bias = torch.tensor(compiled.constants.prenet_bias, dtype=torch.float32, device="cpu")
        save_file({**source.weights, "dropout_bias": bias}, beside / WEIGHTS)
        for file in beside.iterdir():  # which safetensors made for its owner alone
            file.chmod((beside / SCRIPT).stat().st_mode & 0o777)


def _check_plan(compiled: Any) -> None:
    if not isinstance(compiled, CompiledSpeechT5):
        raise InvalidArgument(
            f"a compiled SpeechT5 is expected, as compiler.compile_speecht5 returns it, got {type(compiled).__name__}"
        )
    options = compiled.options
    if options.precision != "bfloat16":
        raise InvalidArgument(
            f"the model was compiled in {options.precision}, which no device runs: compile with precision='bfloat16'",
            arguments=("precision",),
        )
    if options.batch_size != 1:
        raise InvalidArgument(
            f"batch_size={options.batch_size}: a script speaks one text at a time, compile for one",
            arguments=("batch_size",),
        )
    if options.postnet != "bucket":
        raise InvalidArgument(
            f"postnet={options.postnet!r}: a script is written for postnet='bucket' only", arguments=("postnet",)
        )


def _sizes(compiled: CompiledSpeechT5, text: int | None, steps: int | None, frames: int | None) -> Sizes:
    limits = compiled.limits
    tokens = min(TEXT, limits.text) if text is None else arguments.length("text", text, limits.text)
    longest = min(STEPS, limits.steps) if steps is None else arguments.length("steps", steps, limits.steps)
    buckets = limits.step_buckets
    until = next(size for size in buckets if size >= longest)
    windows = () if compiled.vocoder is None else tuple(compiled.vocoder.options.windows)
    window = next((size for size in windows if size >= min(WINDOW, windows[-1])), 0) if frames is None else frames
    if frames is not None and frames not in windows:
        raise InvalidArgument(
            f"frames={frames}: one of the vocoder's windows is expected, it has {windows}", arguments=("frames",)
        )
    bucket = next(size for size in limits.text_buckets if size >= tokens)
    return Sizes(bucket, tuple(size for size in buckets if size <= until), min(until, limits.steps), window)


Graphs = Mapping[str, Mapping[int, Executable]]
"""Graphs by name and size."""


def _graphs(compiled: CompiledSpeechT5, sizes: Sizes, say: Callable[[str], None]) -> Graphs:
    """All graphs of the script, compiled."""
    made: dict[str, dict[int, Executable]] = {}
    text = min(sizes.text, compiled.limits.text)
    for name in ("encoder", "utterance"):
        say(f"compiling {name}")
        made[name] = {sizes.text: compiled.graph(name, text=text)}
    for name in ("decoder_step", "postnet"):
        for size in sizes.steps:
            say(f"compiling {name} for {size} steps")
            lengths = {"text": text, "steps": min(size, compiled.limits.steps)}
            made.setdefault(name, {})[size] = compiled.graph(name, **lengths)
    if (vocoder := compiled.vocoder) is not None:
        for name in ("vocoder", "short_vocoder"):
            say(f"compiling {name}")
            made[name] = {sizes.frames: vocoder.graph(name, frames=sizes.frames)}
    return made


def _parts(graphs: Graphs, sizes: Sizes) -> tuple[Part, ...]:
    """The classes, named after those of transformers."""
    length = "steps" if len(sizes.steps) > 1 else ""
    parts = [
        Part(
            "SpeechT5Encoder",
            "The text encoder, with its prenet.",
            "encoder",
            (Method("__call__", f"Hidden states [1, {sizes.text}, hidden] of a text.", graphs["encoder"]),),
            ("speecht5.encoder.",),
        ),
        Part(
            "SpeechT5Decoder",
            "The speech decoder, from prenet to the linears that make frames and the logits to stop.",
            "decoder",
            (
                Method("prepare", "Compute what is the same in all steps of an utterance.", graphs["utterance"]),
                Method("step", "Make the frames of one step, and cache them.", graphs["decoder_step"], length, True),
            ),
            ("speecht5.decoder.", "speech_decoder_postnet."),
        ),
        Part(
            "SpeechT5SpeechDecoderPostnet",
            "The convolutions that refine a finished spectrogram.",
            "postnet",
            (Method("__call__", "Refine frames; `frame_mask` is one on speech.", graphs["postnet"], length),),
            ("speech_decoder_postnet.",),
        ),
    ]
    if "vocoder" in graphs:
        doc = "Sound of a window of frames; where there are fewer, `frame_mask` is one on them."
        sound = Method("__call__", doc, graphs["vocoder"], more=graphs["short_vocoder"])
        parts.append(Part("SpeechT5HifiGan", "The vocoder.", "vocoder", (sound,)))
    return tuple(parts)


def _script(compiled: CompiledSpeechT5, sizes: Sizes, graphs: Graphs, source: Source, voice: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415, for scripts only

    board = BOARDS[compiled.options.board]
    step = graphs["decoder_step"]
    first = next(iter(step.values())).graph
    made = {port.name for name in ("encoder", "utterance") for port in _graph(graphs, name).outputs}
    given = {"input_ids", "attention_mask", "speaker_embeddings"}
    begun = [port.name for port in first.inputs if port.name in made | given]
    state = {port.name: shape_of(port.name, step) for port in first.inputs if port.name not in begun}
    ports = {port.name: port.value.type for name in ("encoder", "utterance") for port in _graph(graphs, name).inputs}
    ports = {name: type for name, type in ports.items() if name in given}
    ports |= {port.name: port.value.type for port in first.inputs if port.name in state}
    ports["frame_mask"] = _graph(graphs, "postnet").input("frame_mask").type
    if compiled.vocoder is not None:
        short = _graph(graphs, "short_vocoder")
        ports["sound_spectrogram"] = _graph(graphs, "vocoder").input("spectrogram").type
        ports["short_spectrogram"], ports["sound_mask"] = (short.input(n).type for n in ("spectrogram", "frame_mask"))
    places = {name: place(type, source.names) for name, type in ports.items()}
    template = resources.files("compiler.speecht5").joinpath("templates/script.py.jinja").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(template).render(
        name=SCRIPT,
        weights=WEIGHTS,
        board={"name": board.name, "article": "an" if board.name.startswith("n") else "a"},
        version=__version__,
        ttnn=SUPPORTED["ttnn"].removeprefix("=="),
        constants=compiled.constants,
        text=sizes.text,
        limit=sizes.limit,
        ahead=MASKS_AHEAD,
        dropped=typed(DROPPED),
        many=len(sizes.steps) > 1,
        buckets=repr(sizes.steps),
        example=" ".join(str(token) for token in range(4, 9)),
        definitions="\n".join(source.definitions),
        classes="\n".join(source.classes),
        places=entries({name: where for name, where in places.items() if where != TILES}),
        state=entries(state),
        begun=[] if begun == [port.name for port in _graph(graphs, "utterance").outputs] else items(begun),
        prepared=json.dumps([port.name for port in _graph(graphs, "utterance").inputs]),
        mask_frames="steps.room * REDUCTION",
        trace_region=TRACE_REGION,
        vocoder=_windows(compiled.vocoder, sizes),
        **voice,
    )


def _graph(graphs: Graphs, name: str) -> Graph:
    return next(iter(graphs[name].values())).graph


def _windows(vocoder: CompiledHifiGan | None, sizes: Sizes) -> Mapping[str, int] | None:
    if vocoder is None:
        return None
    field = vocoder.receptive_field
    return {
        "window": sizes.frames,
        "before": field.before,
        "after": field.after,
        "hop": vocoder.hop,
        "extra": vocoder.samples(0),
        "rate": vocoder.config.sampling_rate,
    }


def _voice_files(voice: Voice | None, folder: Path) -> Mapping[str, Any]:
    """Write tokenizer and speakers beside the script, as far as it can read them; what it is told of them."""
    speakers = [] if voice is None else sorted(voice.speakers)
    if voice is not None and speakers:
        save_file({name: voice.speakers[name].contiguous() for name in speakers}, folder / SPEAKERS)
    pieces = None
    if voice is not None and not voice.tokenizer.normalize:  # spelling numbers out takes transformers
        (folder / TOKENIZER).mkdir()
        numbers = write_tokenizer(voice.tokenizer, folder)
        if numbers is not None:
            (folder / SAVED_PIECES).rename(folder / PIECES)
            pieces = {"file": PIECES, "special": dict(numbers.special), "end": numbers.eos_token_id}
        shutil.rmtree(folder / TOKENIZER)
    return {"speakers": speakers, "speakers_file": SPEAKERS, "pieces": pieces}
