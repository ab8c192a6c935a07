"""What a second of sound takes on each board, modelled: of the decoder, step after step, and of the vocoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from compiler.inspect.cost_report import MODELLED
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.speecht5.vocoder import CompiledHifiGan
from compiler.target.boards import BOARDS, Board
from compiler.target.cost import graph_time


@dataclass(frozen=True, slots=True)
class DramModel:
    """Modelled seconds on ``board`` for a second of sound; ``window`` are the frames of a run of the vocoder."""

    board: str
    decoder: float
    vocoder: float
    window: int


def paces(
    compiled: CompiledSpeechT5,
    vocoder: CompiledHifiGan,
    text: int,
    steps: int,
    boards: Mapping[str, Board] = BOARDS,
) -> list[DramModel]:
    """The pace of the decoder step for ``text`` and ``steps``, and of the vocoder's largest window, on each board."""
    window, field = vocoder.options.windows[-1], vocoder.receptive_field
    frame = vocoder.hop / vocoder.config.sampling_rate
    found = []
    for board, numbers in boards.items():
        step = compiled.for_board(board).graph("decoder_step", text=text, steps=steps).graph
        made = vocoder.for_board(board).graph("vocoder", frames=window).graph
        found.append(
            DramModel(
                board,
                graph_time(step, numbers).seconds / (frame * compiled.config.reduction_factor),
                graph_time(made, numbers).seconds / (frame * (window - field.before - field.after)),
                window,
            )
        )
    return found


def table(found: Sequence[DramModel]) -> Table:
    """A row for each board."""
    shown = Table(title=f"milliseconds for a second of sound ({MODELLED})")
    for column in ("board", "decoder step", f"vocoder, windows of {found[0].window} frames"):
        shown.add_column(column, justify="left" if column == "board" else "right")
    for pace in found:
        shown.add_row(pace.board, f"{pace.decoder * 1e3:.2f}", f"{pace.vocoder * 1e3:.2f}")
    return shown


def as_dicts(found: Sequence[DramModel]) -> list[dict[str, Any]]:
    """For JSON, in seconds."""
    return [asdict(pace) for pace in found]
