"""Options that several commands take, and the models that they speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.terminal import progress_bar, quiet

if TYPE_CHECKING:
    from compiler.speecht5 import CompiledSpeechT5

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
PrecisionOption = Annotated[str, typer.Option(metavar="TYPE", help="float32 or bfloat16.")]
WeightsOption = Annotated[
    str, typer.Option(metavar="TYPE", help="bfloat16, bfloat8_b or mixed: weights of a bfloat16 plan.")
]
PostnetOption = Annotated[
    str, typer.Option(metavar="LENGTH", help="bucket, or exact: a post-net for the very length that was said.")
]
BoardOption = Annotated[
    str, typer.Option(metavar="BOARD", help="n150, n300, p150 or p100: whose cores and memory to plan for.")
]
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
    from compiler.options import CompileOptions  # noqa: PLC0415

    options = CompileOptions(**{name: value for name, value in chosen.items() if value is not None})
    from compiler import CompiledSpeechT5, checkpoint  # noqa: PLC0415

    with quiet(), progress_bar() as stage:
        stage("loading the model")
        loaded = full_size_model() if full_size else checkpoint.load_model(model or str(checkpoint.SMALL_VOICE))
    return CompiledSpeechT5(loaded, options)


def full_size_model() -> Any:
    """A model of transformers' default configuration."""
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech  # noqa: PLC0415

    return SpeechT5ForTextToSpeech(SpeechT5Config())
