"""The options that commands share: a model, its plan, and the lengths to compile for.

A command takes them as one value, and says which it does without::

    @app.command()
    @choosing(without=("frames",))
    def count(*, chosen: Chosen, as_json: ... = False) -> None:
        compiled = chosen.compiled()

A command with many options of its own has a record of them, which it names: ``@choosing(Spoken)``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, dataclass, fields
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from compiler.choices import LENGTHS, VOCODER_GRAPHS
from compiler.cli.options import (
    Asked,
    BatchOption,
    BoardOption,
    DisableOption,
    EnableOption,
    FramesOption,
    FullSizeOption,
    ModelOption,
    PostnetOption,
    PrecisionOption,
    StepsOption,
    TextOption,
    VocoderOption,
    WeightsOption,
    compiled_model,
)
from compiler.errors import InvalidArgument

if TYPE_CHECKING:
    from compiler.speecht5.text_to_speech import CompiledSpeechT5


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the command line says of a model; a command that does without an option has its default."""

    context: typer.Context
    model: ModelOption = None
    vocoder: VocoderOption = None
    full_size: FullSizeOption = False
    precision: PrecisionOption = "bfloat16"
    weights: WeightsOption = "bfloat16"
    postnet: PostnetOption = "bucket"
    board: BoardOption = "n150"
    batch_size: BatchOption = 1
    enable: EnableOption = None
    disable: DisableOption = None
    text: TextOption = 1
    steps: StepsOption = 1
    frames: FramesOption = None

    @property
    def title(self) -> str:
        """What a page calls the model."""
        if self.full_size:
            return "transformers' default configuration, random weights"
        return self.model or "the small voice"

    def given(self, name: str) -> bool:
        """Whether the command line says it itself."""
        source = self.context.get_parameter_source(name)
        return source is not None and source.name == "COMMANDLINE"

    def asked(self, graph: str | None = None) -> Asked:
        """All graphs, or the one to show, at these lengths."""
        return Asked(graph, self.text, self.steps, self.frames)

    def check_lengths(self, *graphs: str | None) -> None:
        """Raise ``InvalidArgument`` for a length on the command line that none of the graphs has, if any is named.

        A vocoder may be asked for with ``--steps``: speech of any length is cut into its windows.
        """
        named = [each for each in graphs if each is not None]
        had = {name for each in named for name in (*LENGTHS[each], *(["steps"] if each in VOCODER_GRAPHS else []))}
        for name in ("text", "steps", "frames"):
            if named and self.given(name) and name not in had:
                takers = ", ".join(each for each, lengths in LENGTHS.items() if name in lengths)
                raise InvalidArgument(f"--{name} is for {takers}: leave it out for {', '.join(named)}")

    def compiled(self, asked: Asked | None = None) -> CompiledSpeechT5:
        """Load the model; no graph is compiled yet. Raises what :func:`compiled_model` raises."""
        return compiled_model(
            self.context,
            self.model,
            self.full_size,
            self.vocoder,
            asked or self.asked(),
            precision=self.precision,
            weights=self.weights,
            postnet=self.postnet,
            board=self.board,
            batch_size=self.batch_size,
            enable=self.enable,
            disable=self.disable,
        )


def choosing(
    record: type = Chosen, *, without: Collection[str] = (), **defaults: object
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of ``record``, a dataclass, as options in place of its parameter ``chosen``.

    ``without`` names fields that are no options of this command, ``defaults`` other defaults than theirs.
    """

    def spread(command: Callable[..., None]) -> Callable[..., None]:
        shared = {each.name: each for each in _shared(record, without, defaults)}
        parameters = [*_spread(command, shared.values())]

        def _run(**given: Any) -> None:
            chosen = {name: given.pop(name) for name in shared}
            command(chosen=record(**chosen), **given)

        _run.__name__, _run.__doc__, _run.__module__ = command.__name__, command.__doc__, command.__module__
        _run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        _run.__annotations__ = {each.name: each.annotation for each in parameters}
        return _run

    return spread


def _shared(record: type, without: Collection[str], defaults: dict[str, object]) -> Iterator[Parameter]:
    hints = get_type_hints(record, include_extras=True)
    for field in fields(record):
        if field.name not in without:
            default = defaults.get(field.name, Parameter.empty if field.default is MISSING else field.default)
            yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name])


def _spread(command: Callable[..., None], shared: Collection[Parameter]) -> Iterator[Parameter]:
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in signature(command).parameters.items():
        if name == "chosen":
            yield from shared
        else:
            yield parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY)
