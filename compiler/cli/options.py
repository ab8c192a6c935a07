"""Define options that several commands share, and load the models that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.choices import Board, Postnet, Precision, Weights
from compiler.cli.terminal import announced, progress_bar
from compiler.errors import InvalidArgument
from compiler.folder import is_saved
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.quiet import quiet
from compiler.speecht5.saved_voice import Described, described

if TYPE_CHECKING:
    from compiler.speecht5.text_to_speech import CompiledSpeechT5

ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|OWNER/NAME",
        help="Checkpoint: a folder, or a name on the hub; or a saved model. The small voice by default.",
    ),
]
FullSizeOption = Annotated[
    bool,
    typer.Option("--full-size", help="Use transformers' default SpeechT5Config with random weights as the model."),
]
PrecisionOption = Annotated[
    Precision, typer.Option(help="Float type of the plan; float32 runs on the reference executor only.")
]
WeightsOption = Annotated[Weights, typer.Option(help="How a bfloat16 plan stores weights.")]
PostnetOption = Annotated[
    Postnet, typer.Option(help="Post-net for a bucket of lengths, or for the exact length of the speech.")
]
BoardOption = Annotated[Board, typer.Option(help="Board whose cores and memory to plan for.")]
BatchOption = Annotated[int, typer.Option(metavar="N", help="Rows that are decoded together.")]
TextOption = Annotated[int, typer.Option("--text", metavar="N", help="Compile for texts of this many tokens.")]
StepsOption = Annotated[int, typer.Option("--steps", metavar="N", help="Compile for this many decoder steps.")]
EnableOption = Annotated[
    list[str] | None, typer.Option(metavar="PASS", help="Also run this optional pass; may be repeated.")
]
IMPORTING = "importing torch and transformers"

DisableOption = Annotated[list[str] | None, typer.Option(metavar="PASS", help="Leave this pass out; may be repeated.")]


def compiled_model(
    context: typer.Context, model: str | None, full_size: bool = False, **chosen: Any
) -> CompiledSpeechT5:
    """Load a model, of which no graph is compiled yet; with ``full_size``, the default one with random weights.

    ``chosen`` are fields of ``CompileOptions``; ``None`` means the default. A saved model has its own, and is refused
    where the command line (``context``) asks for others.
    """
    options = CompileOptions(**{name: value for name, value in chosen.items() if value is not None})
    if model is not None and is_saved(model):
        found = described(model)
        check_plan(context, found)
        return saved_model(found)
    source = checkpoint_of(model)
    with announced(IMPORTING):
        from compiler import CompiledSpeechT5  # noqa: PLC0415
        from compiler.speecht5 import checkpoint  # noqa: PLC0415

        import_libraries()
    with quiet(), progress_bar() as stage:
        stage("loading the model")
        loaded = checkpoint.full_size_model() if full_size else checkpoint.load_model(source)
    compiled = CompiledSpeechT5(loaded, options)
    compiled.checkpoint = None if full_size else source
    return compiled


def saved_model(found: Described) -> CompiledSpeechT5:
    """Load a saved model."""
    with announced("importing torch, loading the saved model"):
        from compiler.speecht5 import saving  # noqa: PLC0415
        from compiler.speecht5.text_to_speech import CompiledSpeechT5  # noqa: PLC0415

        loaded = saving.load(found)
    assert isinstance(loaded, CompiledSpeechT5)
    return loaded


def check_plan(context: typer.Context, found: Described) -> None:
    """Raise ``InvalidArgument`` for a plan option on the command line that differs from the saved model's."""
    for name, saved in found.plan.items():
        asked = context.params.get(name)
        source = context.get_parameter_source(name)
        if asked is None or source is None or source.name != "COMMANDLINE":
            continue
        wanted = list(asked) if isinstance(asked, (list, tuple)) else [asked]
        if wanted != (list(saved) if isinstance(saved, list) else [saved]):
            option = name.replace("_", "-")
            raise InvalidArgument(
                f"--{option} {' '.join(map(str, wanted))}: the saved model {str(found.folder.path)!r} was compiled "
                f"with {name}={saved!r}: leave --{option} out, or compile the checkpoint and save it with another"
            )


def checkpoint_of(model: str | None) -> str:
    """Return the checkpoint that ``--model`` names, by default the small voice."""
    from compiler.speecht5 import checkpoint  # noqa: PLC0415

    return str(checkpoint.SMALL_VOICE) if model is None else model


def import_libraries() -> None:
    """Import heavy libraries now, while Ctrl-C ends the process at once, and not at first use."""
    from compiler.speecht5 import checkpoint, speaking  # noqa: F401, PLC0415

    checkpoint.import_classes()
