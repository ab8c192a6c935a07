"""The command ``speak``."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler.cli.app import app
from compiler.cli.options import (
    DisableOption,
    EnableOption,
    ModelOption,
    PostnetOption,
    WeightsOption,
)
from compiler.errors import InvalidArgument
from compiler.terminal import progress_bar, quiet, refusals

if TYPE_CHECKING:
    from compiler.device.executor import TtnnExecutor

READ_EVERY = 8
"""Steps between two looks at a device's probabilities to stop: a quarter of a second of the published checkpoint's."""


@app.command()
def speak(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", readable=False, help="The WAV file.")
    ] = Path("speech.wav"),
    model: ModelOption = None,
    vocoder: Annotated[
        str | None, typer.Option(metavar="FOLDER|OWNER/NAME", help="Another vocoder than the checkpoint's own.")
    ] = None,
    speaker: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A speaker of the checkpoint, or a .npy or .safetensors file with one vector. By default the first.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the pre-net's dropout.")] = 0,
    precision: Annotated[
        str | None, typer.Option(metavar="TYPE", help="float32, or bfloat16, the only one on a device.")
    ] = None,
    weights: WeightsOption = "bfloat16",
    postnet: PostnetOption = "bucket",
    board: Annotated[
        str | None,
        typer.Option(
            metavar="BOARD", help="n150, n300, p150 or p100: what to plan for. By default the device, else n150."
        ),
    ] = None,
    enable: EnableOption = None,
    disable: DisableOption = None,
    device: Annotated[
        bool, typer.Option("--device", help="Run on the card or simulator that ttnn finds, not on the CPU.")
    ] = False,
    threshold: Annotated[float, typer.Option(metavar="P", help="Probability to stop at which speech ends.")] = 0.5,
    min_len_ratio: Annotated[float, typer.Option(metavar="R", help="Least frames a token.")] = 0.0,
    max_len_ratio: Annotated[float, typer.Option(metavar="R", help="Most frames a token.")] = 20.0,
) -> None:
    """Speak TEXT into a WAV file."""
    with refusals():
        from compiler import compile_speecht5  # noqa: PLC0415
        from compiler.options import CompileOptions  # noqa: PLC0415
        from compiler.sound import check_target, write_wav  # noqa: PLC0415

        check_target(output)
        if device and precision == "float32":
            raise InvalidArgument("--device takes no --precision float32: ttnn refuses it in attention and caches")
        precision = precision or ("bfloat16" if device else "float32")
        options = CompileOptions(
            precision=precision,
            weights=weights,
            postnet=postnet,
            board=board or "n150",
            enable=enable or (),
            disable=disable or (),
        )
        from compiler import checkpoint, speaking  # noqa: PLC0415
        from compiler.device import session  # noqa: PLC0415

        speaking.check_text(text)
        speaking.check_numbers(seed, threshold, min_len_ratio, max_len_ratio)
        with quiet(), progress_bar() as stage:
            stage("loading the voice")
            voice = checkpoint.load_voice(model or str(checkpoint.SMALL_VOICE), vocoder)
            speaking.prepare(voice, text, speaker)  # what cannot be said is refused before the seconds of compiling
            if device:
                stage("looking for a device")
                found = session.probe()
                options = replace(options, board=board or found or options.board)
            stage("compiling")
            compiled = compile_speecht5(voice.model, **asdict(options))
            with _device() if device else nullcontext() as executor:
                speech = speaking.speak(
                    voice,
                    compiled,
                    text,
                    speaker,
                    seed,
                    lambda step, most: stage("speaking", step, most),
                    threshold=threshold,
                    minlenratio=min_len_ratio,
                    maxlenratio=max_len_ratio,
                    executor=executor,
                    read_every=READ_EVERY if device else 1,
                )
            write_wav(output, speech.sound, speech.sample_rate)
    typer.echo(
        f"{speech.duration:.2f} s of sound in {speech.steps} steps, "
        f"real-time factor {speech.real_time_factor:.2f} "
        f"(compiled in {compiled.compile_seconds:.1f} s, spoken in {speech.seconds:.1f} s): {output}"
    )


def _device() -> AbstractContextManager[TtnnExecutor]:
    """The device that ttnn finds, open in this process, without ttnn's logs."""
    from compiler.device import mock, opening  # noqa: PLC0415

    os.environ.update(mock.QUIET | os.environ)
    return opening.open_device()
