"""The command ``speak``."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler import arguments
from compiler.choices import Board, Precision
from compiler.cli.app import app
from compiler.cli.options import (
    DisableOption,
    EnableOption,
    ModelOption,
    PostnetOption,
    WeightsOption,
    checkpoint_of,
    import_libraries,
)
from compiler.cli.terminal import progress_bar, refusals
from compiler.errors import InvalidArgument
from compiler.process import interruption
from compiler.speecht5 import text as texts
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.quiet import quiet

if TYPE_CHECKING:
    from compiler.device.executor import TtnnExecutor

READ_EVERY = 8
"""Steps between two looks at a device's probabilities to stop: a quarter of a second of the published checkpoint's."""


@app.command()
def speak(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; - reads it from standard input.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The WAV file; - writes it to standard output.")
    ] = "speech.wav",
    model: ModelOption = None,
    vocoder: Annotated[
        str | None, typer.Option(metavar="FOLDER|OWNER/NAME", help="Another vocoder than the checkpoint's own.")
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="FOLDER|OWNER/NAME", help="Another tokenizer, for a checkpoint that has none of its own."),
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
            "By default the first.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the pre-net's dropout.")] = 0,
    precision: Annotated[
        Precision | None, typer.Option(help="Element type of the plan. By default bfloat16 on a device, else float32.")
    ] = None,
    weights: WeightsOption = "bfloat16",
    postnet: PostnetOption = "bucket",
    board: Annotated[
        Board | None, typer.Option(help="Whose cores and memory to plan for. By default the device's, else n150.")
    ] = None,
    enable: EnableOption = None,
    disable: DisableOption = None,
    device: Annotated[
        bool, typer.Option("--device", help="Run on the card or simulator that ttnn finds, not on the CPU.")
    ] = False,
    threshold: Annotated[
        float, typer.Option(metavar="P", help="Probability to stop at which speech ends; inf: at the most frames.")
    ] = 0.5,
    min_len_ratio: Annotated[float, typer.Option(metavar="R", help="Least frames a token.")] = 0.0,
    max_len_ratio: Annotated[float, typer.Option(metavar="R", help="Most frames a token.")] = 20.0,
) -> None:
    """Speak TEXT into a WAV file."""
    with refusals():
        from compiler.speecht5 import checkpoint, sound  # noqa: PLC0415

        if device and precision == "float32":
            raise InvalidArgument("--device takes no --precision float32: ttnn refuses it in attention and caches")
        options = CompileOptions(
            precision=precision or ("bfloat16" if device else "float32"),
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
        to_stdout = output == "-"
        sound.check_standard_output() if to_stdout else sound.check_target(Path(output))
        said = _given(text)
        source = checkpoint_of(model)
        # What decides whether the text can be said is there long before torch is.
        with quiet():
            most = checkpoint.longest_text(source)
            chosen = checkpoint.load_tokenizer(source if tokenizer is None else tokenizer, normalize)
            texts.tokens(chosen, said, most)
            for line in texts.warnings(chosen, said, checkpoint.known_words(source)):
                typer.echo(f"warning: {line}", err=True)
        with sound.standard_output() if to_stdout else nullcontext() as stream:
            import_libraries()
            from compiler import compile_speecht5  # noqa: PLC0415
            from compiler.device import session  # noqa: PLC0415
            from compiler.speecht5 import speaking  # noqa: PLC0415

            with quiet(), progress_bar() as stage:
                stage("loading the voice")
                voice = checkpoint.load_voice(source, vocoder, chosen)
                speaking.prepare(voice, said, speaker)  # a speaker is refused before the seconds of compiling
                if device:
                    stage("looking for a device")
                    found = session.probe()
                    options = replace(options, board=board or found or options.board)
                stage("compiling")
                compiled = compile_speecht5(voice.model, vocoder=voice.vocoder, **asdict(options))
                with _device() if device else nullcontext() as executor:
                    speech = speaking.speak(
                        voice,
                        compiled,
                        said,
                        speaker,
                        seed,
                        lambda step, most: stage("speaking", step, most),
                        threshold=threshold,
                        minlenratio=min_len_ratio,
                        maxlenratio=max_len_ratio,
                        executor=executor,
                        read_every=READ_EVERY if device else 1,
                    )
                interruption.raise_noted()
                if stream is None:
                    sound.write_wav(Path(output), speech.sound, speech.sample_rate)
                else:
                    stream.write(sound.encode_wav(speech.sound, speech.sample_rate))
                    stream.flush()
        typer.echo(
            f"{speech.duration:.2f} s of sound in {speech.steps} steps, "
            f"real-time factor {speech.real_time_factor:.2f} (compiled in {compiled.compile_seconds:.1f} s, "
            f"spoken in {speech.seconds:.1f} s): {'standard output' if to_stdout else output}",
            err=to_stdout,
        )


def _given(text: str) -> str:
    """The text itself, or standard input where it is ``-``. Raises ``InvalidArgument`` for what is no text."""
    if text == "-":
        if sys.stdin is None:
            raise InvalidArgument("- reads the text from standard input, which is closed: name the text")
        said = texts.decoded(sys.stdin.buffer.read(texts.MOST_BYTES + 1)).strip()
    else:
        said = texts.decoded(text)
    texts.check_text(said)
    return said


def _device() -> AbstractContextManager[TtnnExecutor]:
    """The device that ttnn finds, open in this process, without ttnn's logs."""
    from compiler.device import mock, opening  # noqa: PLC0415

    os.environ.update(mock.QUIET | os.environ)
    return opening.open_device()
