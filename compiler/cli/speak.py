"""Define the command ``speak``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from compiler import arguments
from compiler.choices import Board, Precision
from compiler.cli import spoken
from compiler.cli.app import app
from compiler.cli.chosen import choosing
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
)
from compiler.cli.sources import Source, Text
from compiler.cli.terminal import announced, progress_bar, refusals
from compiler.cli.tuned import TunedOption, check_tuned
from compiler.cli.tuned import tuned as tuned_plan
from compiler.errors import InvalidArgument
from compiler.speecht5 import pieces
from compiler.speecht5 import text as texts
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.quiet import quiet
from compiler.speecht5.tuning.choices import Choice

if TYPE_CHECKING:
    from compiler.device.executor import TtnnExecutor
    from compiler.speecht5.text_to_speech import CompiledSpeechT5
    from compiler.speecht5.voice import Voice


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What the command line asks to be spoken, with what, and into what."""

    context: typer.Context
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Text to say; - reads it from standard input.")]
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The WAV file; - writes it to standard output.")
    ] = "speech.wav"
    model: ModelOption = None
    vocoder: VocoderOption = None
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|OWNER/NAME", help="Tokenizer, for a checkpoint without one."),
    ] = None
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize",
            help="Have the tokenizer spell numbers out in English. By default as the checkpoint says.",
        ),
    ] = None
    speaker: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A speaker of the checkpoint, or a .npy, .npz, .pt or .safetensors file with one vector. "
            "By default the first by name.",
        ),
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the pre-net's dropout.")] = 0
    precision: Annotated[
        Precision | None, typer.Option(help="Float type of the plan. By default bfloat16 on a device, else float32.")
    ] = None
    weights: WeightsOption = "bfloat16"
    postnet: PostnetOption = "bucket"
    board: Annotated[
        Board | None, typer.Option(help="Board whose cores and memory to plan for. By default the device's, else n150.")
    ] = None
    enable: EnableOption = None
    disable: DisableOption = None
    device: Annotated[
        bool, typer.Option("--device", help="Run on the card or simulator that ttnn finds, not on the CPU.")
    ] = False
    tuned: TunedOption = False
    threshold: Annotated[
        float, typer.Option(metavar="P", help="Stop probability at which speech ends; inf: only at the most frames.")
    ] = 0.5
    min_len_ratio: Annotated[float, typer.Option(metavar="R", help="Least frames per token.")] = 0.0
    max_len_ratio: Annotated[float, typer.Option(metavar="R", help="Most frames per token.")] = 20.0
    pause: Annotated[
        float, typer.Option(metavar="S", help="Seconds of silence between the pieces of a text too long for one.")
    ] = pieces.PAUSE
    longest: Annotated[
        int | None,
        typer.Option(metavar="N", help="Most tokens of a piece. By default what the model takes, or was taught."),
    ] = None
    batch: Annotated[int, typer.Option(metavar="N", help="Pieces of a long text that are spoken at once.")] = 1
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Write sound while it is spoken: a WAV file that grows, in place of one that was there, or raw 16-bit "
            "PCM on standard output.",
        ),
    ] = False

    @property
    def to_stdout(self) -> bool:
        """Whether sound goes into standard output."""
        return self.output == "-"

    @property
    def options(self) -> CompileOptions:
        """The plan, for an n150 where no board is named."""
        return CompileOptions(
            precision=self.precision or ("bfloat16" if self.device or self.tuned else "float32"),
            weights=self.weights,
            postnet=self.postnet,
            board=self.board or "n150",
            enable=self.enable or (),
            disable=self.disable or (),
        )

    def check(self) -> None:
        """Raise ``InvalidArgument`` for what is unfit, or does not go together, before anything is read."""
        from compiler.speecht5 import sound  # noqa: PLC0415

        if self.device and self.precision == "float32":
            raise InvalidArgument("--device takes no --precision float32: ttnn refuses it in attention and caches")
        if self.tuned:
            check_tuned(self.context)
        _ = self.options
        arguments.seed(self.seed)
        arguments.number("--threshold", self.threshold, infinite=True)
        arguments.number("--min-len-ratio", self.min_len_ratio)
        arguments.number("--max-len-ratio", self.max_len_ratio)
        pieces.check_pause("--pause", self.pause)
        arguments.whole("--batch", self.batch)
        if self.longest is not None:
            arguments.whole("--longest", self.longest)
        sound.check_standard_output() if self.to_stdout else sound.check_target(Path(self.output))

    def source(self) -> Source:
        """Where the voice comes from. Raises ``InvalidArgument`` for a saved model with another plan."""
        found = Source.found(checkpoint_of(self.model), self.vocoder, self.tokenizer, self.normalize)
        if found.saved is not None:
            check_plan(self.context, found.saved)
            if self.tuned:
                raise InvalidArgument("--tuned is for a checkpoint: a saved model has one plan (`compile --tuned -o`)")
        # What was traced before does a piece at a time, on the CPU.
        traced = self.batch == 1 and not self.device and not self.tuned
        return found.traced(self.options) if traced else found


@app.command()
@choosing(Spoken)
def speak(*, chosen: Spoken) -> None:
    """Speak TEXT into a WAV file."""
    with refusals():
        from compiler.speecht5 import sound  # noqa: PLC0415

        chosen.check()
        said = _given(chosen.text)
        with announced("reading the text"):
            source = chosen.source()
            with source.hushed():
                text = source.read(said, chosen.max_len_ratio, chosen.longest)
        for line in text.warnings:
            typer.echo(f"warning: {line}", err=True)
        check_device(chosen.device)
        with sound.standard_output() if chosen.to_stdout else nullcontext() as pipe:
            told = _speak(chosen, source, said, text, pipe or Path(chosen.output))
        typer.echo(f"{told}: {'standard output' if chosen.to_stdout else chosen.output}", err=chosen.to_stdout)


def _speak(chosen: Spoken, source: Source, said: str, text: Text, target: Path | BinaryIO) -> str:
    """Load or compile the voice, speak, and keep what was traced. What there is to tell of it."""
    compiled = source.compiled()
    if compiled is None:
        with announced(IMPORTING):
            import_libraries()
        if source.known is not None:  # lost since it was found: all is done that it spared
            source = source.forgotten()
            with quiet():
                text = replace(text, tokenizer=source.load_tokenizer())
    with source.hushed(), progress_bar() as stage:
        voice, compiled, choice = _compiled(chosen, source, said, text, compiled, stage)
        show = spoken.Shown(stage)
        with _device(choice) if chosen.device else nullcontext() as executor:
            given = {
                "speaker": chosen.speaker,
                "seed": chosen.seed,
                "progress": show.step,
                "threshold": chosen.threshold,
                "minlenratio": chosen.min_len_ratio,
                "maxlenratio": chosen.max_len_ratio,
                "executor": executor,
                "read_every": choice.read_every if chosen.device else 1,
                "pause": chosen.pause,
                "longest": chosen.longest,
                "piece": show.piece,
            }
            tell = (spoken.stream if chosen.stream else spoken.whole)(voice, compiled, said, target, given)
    if source.entry is not None:
        from compiler.speecht5 import remembering  # noqa: PLC0415

        remembering.keep(source.entry, compiled, voice)
    return tell(f"compiled in {compiled.compile_seconds:.1f} s")


def _compiled(
    chosen: Spoken,
    source: Source,
    said: str,
    text: Text,
    compiled: CompiledSpeechT5 | None,
    stage: Callable[..., None],
) -> tuple[Voice, CompiledSpeechT5, Choice]:
    """The voice, the model under the plan that was asked for, and the choice of ``tune`` where that was."""
    from compiler import compile_speecht5  # noqa: PLC0415
    from compiler.speecht5 import speaking  # noqa: PLC0415

    stage("loading the voice")
    voice = source.voice(text.tokenizer, compiled)
    speaking.prepare(voice, said, chosen.speaker, text.most)  # refuse a speaker before the seconds of compiling
    options = chosen.options
    if chosen.device:
        from compiler.device import session  # noqa: PLC0415

        stage("looking for a device")
        options = replace(options, board=chosen.board or session.probe() or options.board)
    if compiled is None:
        stage("tracing and compiling")
        options = replace(options, batch_size=min(chosen.batch, text.pieces))
        compiled = compile_speecht5(voice.model, vocoder=voice.vocoder, **asdict(options))
    if not chosen.tuned:
        return voice, compiled, Choice()
    stage("looking for the tuned plan")
    compiled, choice, line = tuned_plan(compiled, device=chosen.device)
    typer.echo(line, err=True)
    return voice, compiled, choice


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
