"""Define the command ``speak``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from compiler import arguments
from compiler.choices import Board, Precision
from compiler.cli.app import app
from compiler.cli.options import (
    IMPORTING,
    DisableOption,
    EnableOption,
    ModelOption,
    PostnetOption,
    VocoderOption,
    WeightsOption,
    check_device,
    check_plan,
    checkpoint_of,
    import_libraries,
    remembered_model,
    saved_model,
)
from compiler.cli.terminal import announced, progress_bar, refusals
from compiler.cli.tuned import TunedOption, check_tuned
from compiler.cli.tuned import tuned as tuned_plan
from compiler.errors import InvalidArgument
from compiler.folder import is_saved
from compiler.process import interruption
from compiler.speecht5 import pieces, traces
from compiler.speecht5 import text as texts
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.quiet import quiet
from compiler.speecht5.saved_voice import described
from compiler.speecht5.tuning.choices import Choice

if TYPE_CHECKING:
    from compiler.device.executor import TtnnExecutor
    from compiler.speecht5.text_to_speech import CompiledSpeechT5
    from compiler.speecht5.voice import Voice


@app.command()
def speak(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Text to say; - reads it from standard input.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The WAV file; - writes it to standard output.")
    ] = "speech.wav",
    model: ModelOption = None,
    vocoder: VocoderOption = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|OWNER/NAME", help="Tokenizer, for a checkpoint without one."),
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize",
            help="Have the tokenizer spell numbers out in English. By default as the checkpoint says.",
        ),
    ] = None,
    speaker: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A speaker of the checkpoint, or a .npy, .npz, .pt or .safetensors file with one vector. "
            "By default the first by name.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the pre-net's dropout.")] = 0,
    precision: Annotated[
        Precision | None, typer.Option(help="Float type of the plan. By default bfloat16 on a device, else float32.")
    ] = None,
    weights: WeightsOption = "bfloat16",
    postnet: PostnetOption = "bucket",
    board: Annotated[
        Board | None, typer.Option(help="Board whose cores and memory to plan for. By default the device's, else n150.")
    ] = None,
    enable: EnableOption = None,
    disable: DisableOption = None,
    device: Annotated[
        bool, typer.Option("--device", help="Run on the card or simulator that ttnn finds, not on the CPU.")
    ] = False,
    tuned: TunedOption = False,
    threshold: Annotated[
        float, typer.Option(metavar="P", help="Stop probability at which speech ends; inf: only at the most frames.")
    ] = 0.5,
    min_len_ratio: Annotated[float, typer.Option(metavar="R", help="Least frames per token.")] = 0.0,
    max_len_ratio: Annotated[float, typer.Option(metavar="R", help="Most frames per token.")] = 20.0,
    pause: Annotated[
        float, typer.Option(metavar="S", help="Seconds of silence between the pieces of a text too long for one.")
    ] = pieces.PAUSE,
    longest: Annotated[
        int | None,
        typer.Option(metavar="N", help="Most tokens of a piece. By default what the model takes, or was taught."),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Pieces of a long text that are spoken at once.")] = 1,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Write sound while it is spoken: a WAV file that grows, or raw 16-bit PCM on standard output.",
        ),
    ] = False,
) -> None:
    """Speak TEXT into a WAV file."""
    with refusals():
        from compiler.speecht5 import checkpoint, sound  # noqa: PLC0415

        if device and precision == "float32":
            raise InvalidArgument("--device takes no --precision float32: ttnn refuses it in attention and caches")
        if tuned:
            check_tuned(context)
        options = CompileOptions(
            precision=precision or ("bfloat16" if device or tuned else "float32"),
            weights=weights,
            postnet=postnet,
            board=board or "n150",
            enable=enable or (),
            disable=disable or (),
        )
        arguments.seed(seed)
        arguments.number("--threshold", threshold, infinite=True)
        arguments.number("--min-len-ratio", min_len_ratio)
        arguments.number("--max-len-ratio", max_len_ratio)
        pieces.check_pause("--pause", pause)
        arguments.whole("--batch", batch)
        if longest is not None:
            arguments.whole("--longest", longest)
        to_stdout = output == "-"
        sound.check_standard_output() if to_stdout else sound.check_target(Path(output))
        said = _given(text)
        source = checkpoint_of(model)
        saved = described(source) if is_saved(source) else None
        if saved is not None:
            check_plan(context, saved)
            if tuned:
                raise InvalidArgument("--tuned is for a checkpoint: a saved model has one plan (`compile --tuned -o`)")
        # What was traced before does for a checkpoint's own voice, a piece at a time on the CPU.
        own = saved is None and tokenizer is None and vocoder is None and batch == 1
        entry = traces.find(source, options) if own and not device and not tuned else None
        known = entry if entry is not None and entry.facts is not None else None
        # Libraries that talk are kept quiet; a saved model asks for them only where its tokenizer does.
        hushed = nullcontext if known or (saved and tokenizer is None and vocoder is None) else quiet
        # The text can be checked long before torch is imported.
        with hushed():
            with announced("reading the text"):
                most = _most(saved.tables() if saved else checkpoint.tables(source), max_len_ratio, longest)
                if (found := known or saved) is not None and tokenizer is None:
                    chosen = found.tokenizer(normalize)
                else:
                    chosen = checkpoint.load_tokenizer(source if tokenizer is None else tokenizer, normalize)
                parts = len(pieces.pieces(chosen, said, most))
                warnings = texts.warnings(chosen, said, saved.voice.words if saved else checkpoint.known_words(source))
            for line in warnings:
                typer.echo(f"warning: {line}", err=True)
        check_device(device)
        with sound.standard_output() if to_stdout else nullcontext() as pipe:
            compiled = saved_model(saved, vocoder) if saved else remembered_model(known) if known else None
            if compiled is None:
                with announced(IMPORTING):
                    import_libraries()
                if known is not None:  # lost since it was found: all is done that it spared
                    entry, hushed = replace(known, facts=None), quiet
                    with quiet():
                        chosen = checkpoint.load_tokenizer(source, normalize)
            from compiler import compile_speecht5  # noqa: PLC0415
            from compiler.speecht5 import speaking  # noqa: PLC0415

            with hushed(), progress_bar() as stage:
                stage("loading the voice")
                if compiled is None:
                    voice = checkpoint.load_voice(source, vocoder, chosen)
                else:
                    voice = _saved_voice(compiled, chosen)
                speaking.prepare(voice, said, speaker, most)  # refuse a speaker before the seconds of compiling
                if device:
                    from compiler.device import session  # noqa: PLC0415

                    stage("looking for a device")
                    options = replace(options, board=board or session.probe() or options.board)
                if compiled is None:
                    stage("tracing and compiling")
                    options = replace(options, batch_size=min(batch, parts))
                    compiled = compile_speecht5(voice.model, vocoder=voice.vocoder, **asdict(options))
                choice = Choice()
                if tuned:
                    stage("looking for the tuned plan")
                    compiled, choice, line = tuned_plan(compiled, device=device)
                    typer.echo(line, err=True)
                show = Shown(stage)
                with _device(choice) if device else nullcontext() as executor:
                    given = {
                        "speaker": speaker,
                        "seed": seed,
                        "progress": show.step,
                        "threshold": threshold,
                        "minlenratio": min_len_ratio,
                        "maxlenratio": max_len_ratio,
                        "executor": executor,
                        "read_every": choice.read_every if device else 1,
                        "pause": pause,
                        "longest": longest,
                        "piece": show.piece,
                    }
                    tell = (_streamed if stream else _spoken)(voice, compiled, said, pipe or Path(output), given)
            if entry is not None:
                from compiler.speecht5 import remembering  # noqa: PLC0415

                remembering.keep(entry, compiled, voice)
        compiling = f"compiled in {compiled.compile_seconds:.1f} s"
        typer.echo(f"{tell(compiling)}: {'standard output' if to_stdout else output}", err=to_stdout)


def _saved_voice(compiled: CompiledSpeechT5, tokenizer: Any) -> Voice:
    """The voice of a saved model, with the vocoder that was compiled last."""
    assert compiled.voice is not None, "asked for with the tokenizer"
    return replace(compiled.voice, tokenizer=tokenizer, vocoder=compiled.vocoder)


def _most(tables: pieces.Tables | None, ratio: float, longest: int | None) -> int | None:
    """The most tokens of a piece; ``None`` where nobody knows."""
    if tables is None:
        return longest
    return (tables if longest is None else replace(tables, taught=longest)).most(ratio)


def _spoken(
    voice: Voice, compiled: CompiledSpeechT5, text: str, target: Path | BinaryIO, given: dict[str, Any]
) -> Callable[[str], str]:
    """Speak, then write: the file, or a WAV into the pipe. What there is to tell of it."""
    from compiler.speecht5 import sound, speaking  # noqa: PLC0415

    speech = speaking.speak(voice, compiled, text, **given)
    interruption.raise_noted()
    if isinstance(target, Path):
        sound.write_wav(target, speech.sound, speech.sample_rate)
    else:
        target.write(sound.encode_wav(speech.sound, speech.sample_rate))
        target.flush()
    pieces_of_it = f" and {speech.pieces} pieces" if speech.pieces > 1 else ""
    return lambda compiling: (
        f"{speech.duration:.2f} s of sound in {speech.steps} steps{pieces_of_it}, real-time factor "
        f"{speech.real_time_factor:.2f} ({compiling}, spoken in {speech.seconds:.1f} s)"
    )


def _streamed(
    voice: Voice, compiled: CompiledSpeechT5, text: str, target: Path | BinaryIO, given: dict[str, Any]
) -> Callable[[str], str]:
    """Write while speaking: a file that grows, or raw PCM into the pipe. What there is to tell of it."""
    from compiler.speecht5 import sound, speaking  # noqa: PLC0415

    form = ""
    with ExitStack() as open_now:
        speech = open_now.enter_context(speaking.stream(voice, compiled, text, **given))
        if isinstance(target, Path):
            write = open_now.enter_context(sound.GrowingWav(target, speech.sample_rate)).write
        else:
            form = f" as raw 16-bit PCM, {speech.sample_rate} a second, one channel"
            write = partial(sound.write_pcm, target)
        for chunk in speech:
            interruption.raise_noted()
            write(chunk)
    return lambda compiling: (
        f"{speech.duration:.2f} s of sound{form}, first sound after {speech.first_seconds:.2f} s, real-time factor "
        f"{speech.real_time_factor:.2f} ({compiling}, spoken in {speech.seconds:.1f} s)"
    )


class Shown:
    """What the progress bar says while pieces are spoken."""

    def __init__(self, stage: Callable[..., None]) -> None:
        self._stage, self._said = stage, "speaking"

    def piece(self, number: int, pieces: int) -> None:
        """The piece ``number`` of so many begins, and with it those that are spoken at once."""
        self._said = f"speaking, piece {number} of {pieces}" if pieces > 1 else "speaking"

    def step(self, step: int, most: int) -> None:
        """So many steps are made, and ``most`` can come."""
        self._stage(self._said, step, most)


def _given(text: str) -> str:
    """Return the text, or standard input for ``-``. Raises ``InvalidArgument`` for unusable text."""
    if text == "-":
        if sys.stdin is None:
            raise InvalidArgument("- reads the text from standard input, which is closed: name the text")
        said = texts.decoded(sys.stdin.buffer.read(texts.MOST_BYTES + 1)).strip()
    else:
        said = texts.decoded(text)
    texts.check_text(said)
    return said


def _device(choice: Choice) -> AbstractContextManager[TtnnExecutor]:
    """Open the device that ttnn finds in this process, without ttnn's logs."""
    from compiler.device import mock, opening  # noqa: PLC0415

    mock.hush()
    return opening.open_device() if choice.trace else opening.open_device(trace=False)
