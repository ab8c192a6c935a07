"""Options that several commands take, and the models that they speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.choices import Board, Postnet, Precision, Weights
from compiler.cli.terminal import progress_bar
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.quiet import quiet

if TYPE_CHECKING:
    from compiler.speecht5.text_to_speech import CompiledSpeechT5

ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|OWNER/NAME", help="Checkpoint: a folder, or a name on the hub. The small voice by default."
    ),
]
FullSizeOption = Annotated[
    bool,
    typer.Option("--full-size", help="Take transformers' default SpeechT5Config with random weights as the model."),
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Element type of the plan; float32 is the reference executor's alone.")
]
WeightsOption = Annotated[Weights, typer.Option(help="How a bfloat16 plan stores weights.")]
PostnetOption = Annotated[
    Postnet, typer.Option(help="Post-net for a bucket of lengths, or for the very length that was said.")
]
BoardOption = Annotated[Board, typer.Option(help="Whose cores and memory to plan for.")]
BatchOption = Annotated[int, typer.Option(metavar="N", help="Rows that are decoded together.")]
TextOption = Annotated[int, typer.Option("--text", metavar="N", help="Compile for texts of this many tokens.")]
StepsOption = Annotated[int, typer.Option("--steps", metavar="N", help="Compile for this many decoder steps.")]
EnableOption = Annotated[
    list[str] | None, typer.Option(metavar="PASS", help="Run this optional pass, too; may be repeated.")
]
DisableOption = Annotated[list[str] | None, typer.Option(metavar="PASS", help="Leave this pass out; may be repeated.")]


def compiled_model(model: str | None, full_size: bool = False, **chosen: Any) -> CompiledSpeechT5:
    """A model of which no graph is compiled yet; of full size, one whose weights nobody trained.

    ``chosen`` are fields of ``CompileOptions``, ``None`` where nothing was asked for.
    """
    options = CompileOptions(**{name: value for name, value in chosen.items() if value is not None})
    source = checkpoint_of(model)
    from compiler import CompiledSpeechT5  # noqa: PLC0415
    from compiler.speecht5 import checkpoint  # noqa: PLC0415

    import_libraries()
    with quiet(), progress_bar() as stage:
        stage("loading the model")
        loaded = full_size_model() if full_size else checkpoint.load_model(source)
    return CompiledSpeechT5(loaded, options)


def checkpoint_of(model: str | None) -> str:
    """The checkpoint that ``--model`` names, the small voice where it names none."""
    from compiler.speecht5 import checkpoint  # noqa: PLC0415

    return str(checkpoint.SMALL_VOICE) if model is None else model


def import_libraries() -> None:
    """Import what takes seconds now, while Ctrl-C ends the process at once, and not when it is first used."""
    from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan  # noqa: F401, PLC0415

    import compiler.speecht5.speaking  # noqa: F401, PLC0415


def full_size_model() -> Any:
    """A model of transformers' default configuration."""
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech  # noqa: PLC0415

    return SpeechT5ForTextToSpeech(SpeechT5Config())


def full_size_vocoder() -> Any:
    """A vocoder of transformers' default configuration."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig  # noqa: PLC0415

    return SpeechT5HifiGan(SpeechT5HifiGanConfig()).eval()
