"""Define options that several commands share, and load the models that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, Unpack, cast

import typer

from compiler.arguments import length, whole
from compiler.choices import DEFAULT_PASSES, OPTIONAL_PASSES, VOCODER_GRAPHS, Board, Postnet, Precision, Weights
from compiler.cli.terminal import announced, progress_bar
from compiler.errors import InvalidArgument
from compiler.folder import is_saved
from compiler.speecht5.options import CompileArguments, CompileOptions
from compiler.speecht5.quiet import quiet
from compiler.speecht5.saved_voice import Described, described
from compiler.speecht5.vocoder_options import WINDOWS

if TYPE_CHECKING:
    from compiler.speecht5.text_to_speech import CompiledSpeechT5
    from compiler.speecht5.traces import Entry


def _among(names: Sequence[str]) -> Callable[[str], list[str]]:
    """What a shell offers: those of the names that begin as what was typed."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|OWNER/NAME",
        help="Checkpoint: a folder, or a name on the hub; or a saved model. The small voice by default.",
    ),
]
VocoderOption = Annotated[
    str | None, typer.Option(metavar="FOLDER|OWNER/NAME", help="Vocoder to use instead of the checkpoint's own.")
]
FullSizeOption = Annotated[
    bool,
    typer.Option(
        "--full-size", help="Use transformers' default configurations with random weights as model and vocoder."
    ),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        help="Float type of the plan. float32 runs on the reference executor only: `speak` and `compile` take it by "
        "default, and commands that show or check a plan take bfloat16, a device's."
    ),
]
WeightsOption = Annotated[Weights, typer.Option(help="How a bfloat16 plan stores weights.")]
PostnetOption = Annotated[
    Postnet, typer.Option(help="Post-net for a bucket of lengths, for the exact length of the speech, or in chunks.")
]
BoardOption = Annotated[Board, typer.Option(help="Board whose cores and memory to plan for.")]
BatchOption = Annotated[
    int, typer.Option(metavar="N", help="Rows that are decoded together; a vocoder takes one at a time.")
]
TextOption = Annotated[int, typer.Option("--text", metavar="N", help="Compile for texts of this many tokens.")]
StepsOption = Annotated[int, typer.Option("--steps", metavar="N", help="Compile for this many decoder steps.")]
FramesOption = Annotated[
    int | None,
    typer.Option(
        "--frames",
        metavar="N",
        help="Compile the vocoder for a window that holds this many frames. By default the smallest: speech of any "
        "length, whatever --steps, is cut into windows.",
    ),
]
EnableOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PASS", help="Also run this optional pass; may be repeated.", autocompletion=_among(OPTIONAL_PASSES)
    ),
]
IMPORTING = "importing torch and transformers"

DisableOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PASS", help="Leave this pass out; may be repeated.", autocompletion=_among(DEFAULT_PASSES)),
]


class Chosen(TypedDict, total=False):
    """Fields of ``CompileOptions`` as the command line has them; ``None`` means the default."""

    board: str
    precision: str
    weights: str
    postnet: str
    batch_size: int
    enable: list[str] | None
    disable: list[str] | None


def compiled_model(
    context: typer.Context,
    model: str | None,
    full_size: bool,
    vocoder: str | None,
    asked: Asked,
    **chosen: Unpack[Chosen],
) -> CompiledSpeechT5:
    """Load a model, and its vocoder if its graphs are asked for; no graph is compiled yet.

    With ``full_size`` both have transformers' default configurations and random weights. ``vocoder`` names another one
    than the checkpoint's own. ``chosen`` is the plan. A saved model has its own, and is refused where the command line
    (``context``) asks for others. Raises ``InvalidArgument`` where the vocoder's graphs are asked for by name and there
    is no vocoder.
    """
    plan = {name: value for name, value in chosen.items() if value is not None}
    options = CompileOptions(**cast(CompileArguments, plan))
    if model is not None and is_saved(model):
        found = described(model)
        check_plan(context, found)
        asked.check({})
        return saved_model(found, vocoder)
    source = checkpoint_of(model)
    if full_size and not (model is None and vocoder is None):
        given = "--model" if vocoder is None else "--vocoder"
        raise InvalidArgument(f"--full-size takes no {given}: it takes transformers' default configuration")
    from compiler.speecht5 import checkpoint, checkpoint_config  # noqa: PLC0415

    heard = checkpoint.own_vocoder(source) if vocoder is None else vocoder
    asked.check({} if full_size else checkpoint_config.found(source, *checkpoint_config.MODEL))
    if heard is not None and not full_size and asked.sound:
        checkpoint_config.found(heard, *checkpoint_config.VOCODER)
    if asked.sound_by_name and heard is None and not full_size:
        raise InvalidArgument(
            f"the checkpoint {source!r} has no vocoder (a folder 'vocoder' in it): name one with --vocoder"
        )
    with announced(IMPORTING):
        from compiler import CompiledSpeechT5  # noqa: PLC0415

        import_libraries()
    with quiet(), progress_bar() as stage:
        stage("loading the model")
        loaded = checkpoint.full_size_model() if full_size else checkpoint.load_model(source)
        sounding = None
        if asked.sound and full_size:
            sounding = checkpoint.full_size_vocoder()
        elif asked.sound and heard is not None:
            sounding = checkpoint.load_vocoder(heard)
    compiled = CompiledSpeechT5(loaded, options, vocoder=sounding)
    compiled.checkpoint = None if full_size else source
    return compiled


@dataclass(frozen=True, slots=True)
class Asked:
    """The graphs that a command is to show, one or all, and the lengths that they shall hold."""

    graph: str | None
    text: int | None
    steps: int | None
    frames: int | None

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise ``InvalidArgument`` for lengths that no model has, or that are beyond what ``config.json`` says."""
        for name, key in (("text", "max_text_positions"), ("steps", "max_speech_positions")):
            size, most = getattr(self, name), config.get(key)
            if size is not None:
                length(name, size, most) if isinstance(most, int) else whole(name, size)
        if self.frames is not None:
            length("frames", self.frames, WINDOWS[-1])

    @property
    def sound_by_name(self) -> bool:
        """Whether the vocoder, or its length, was named."""
        return self.graph in VOCODER_GRAPHS or self.frames is not None

    @property
    def sound(self) -> bool:
        """Whether the vocoder's graphs are among those to show, where there is one."""
        return self.graph is None or self.sound_by_name

    @property
    def lengths(self) -> dict[str, int]:
        """As ``CompiledModel.graph`` takes them."""
        frames = {} if self.frames is None else {"frames": self.frames}
        return {
            "text": 1 if self.text is None else self.text,
            "steps": 1 if self.steps is None else self.steps,
            **frames,
        }


def saved_model(found: Described, vocoder: str | None = None) -> CompiledSpeechT5:
    """Load a saved model, with another vocoder than its own where one is named."""
    with announced("importing torch, loading the saved model"):
        from compiler.speecht5 import saving  # noqa: PLC0415
        from compiler.speecht5.text_to_speech import CompiledSpeechT5  # noqa: PLC0415

        loaded = saving.load(found)
    assert isinstance(loaded, CompiledSpeechT5)
    if vocoder is not None:
        from compiler.speecht5.vocoder import vocoder_of  # noqa: PLC0415

        with quiet():
            loaded.vocoder = vocoder_of(vocoder, loaded.options, loaded.constants.mel_bins)
    return loaded


def remembered_model(entry: Entry) -> CompiledSpeechT5 | None:
    """Compile a checkpoint of which an earlier run kept what it traced; ``None`` where that cannot be read any more.

    Another process may drop or write an entry after it was found whole.
    """
    with announced("importing torch, reading what was traced before"):
        from safetensors import SafetensorError  # noqa: PLC0415

        from compiler.speecht5 import remembering  # noqa: PLC0415

        try:
            return remembering.compiled(entry)
        except (OSError, SafetensorError):
            return None


def check_plan(context: typer.Context, found: Described) -> None:
    """Raise ``InvalidArgument`` for a plan option on the command line that differs from the saved model's."""
    for name, saved in found.plan.items():
        asked = context.params.get(name)
        source = context.get_parameter_source(name)
        if asked is None or source is None or source.name != "COMMANDLINE":
            continue
        wanted = list(dict.fromkeys(asked)) if isinstance(asked, (list, tuple)) else [asked]
        if wanted != (list(saved) if isinstance(saved, list) else [saved]):
            option = name.replace("_", "-")
            raise InvalidArgument(
                f"--{option} {' '.join(map(str, wanted))}: the saved model {str(found.folder.path)!r} was compiled "
                f"with {name}={saved!r}: leave --{option} out, or compile the checkpoint and save it with another"
            )


def given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def check_no_board(context: typer.Context, device: bool) -> None:
    """Raise ``InvalidArgument`` where ``--board`` stands beside ``--device``."""
    if device and given(context, "board"):
        raise InvalidArgument("--device takes no --board: it takes the device that ttnn finds")


def check_device(device: bool) -> None:
    """Raise ``DeviceError`` for ``--device`` where ttnn is sure to find none, before the seconds of imports."""
    if device:
        from compiler.device import presence  # noqa: PLC0415, a command without a device does without the room

        presence.require_device()


def checkpoint_of(model: str | None) -> str:
    """Return the checkpoint that ``--model`` names, by default the small voice."""
    from compiler.speecht5 import checkpoint  # noqa: PLC0415

    return str(checkpoint.SMALL_VOICE) if model is None else model


def import_libraries() -> None:
    """Import heavy libraries now, while Ctrl-C ends the process at once, and not at first use."""
    from compiler.speecht5 import checkpoint, speaking  # noqa: F401, PLC0415

    checkpoint.import_classes()
