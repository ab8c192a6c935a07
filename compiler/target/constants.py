"""Constants of the cost model as data: those of a board, and a file of others that take their place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from compiler.choices import BOARDS as NAMES
from compiler.choices import one_of
from compiler.errors import InvalidArgument
from compiler.records import json_object, record
from compiler.target.boards import BOARDS, Board, Number

FORMAT = 1
"""Version of the file's form. It grows with each change that a reader would have to follow."""
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Constants:
    """What the cost model takes for one board, in the units of ``compiler/target/boards.py``.

    ``dispatch`` in cycles; ``matrix`` and ``vector`` in FLOP/cycle of a core; ``dram``, ``dram_sharded`` (by the number
    of readers of a bank) and ``host`` in bytes/s. ``source`` says where they come from. Raises ``InvalidArgument`` for
    an unknown board, and for a constant that is not positive and finite.
    """

    board: str
    source: str
    dispatch: float
    matrix: float
    vector: float
    dram: float
    dram_sharded: Mapping[str, float]
    host: float

    def __post_init__(self) -> None:
        one_of("board", self.board, NAMES)
        known = [str(readers) for readers in BOARDS[self.board].dram_sharded]
        if sorted(self.dram_sharded) != sorted(known):
            raise InvalidArgument(
                f"dram_sharded has rates for {', '.join(self.dram_sharded) or 'no'} readers of a bank, and a "
                f"{self.board} has them for {', '.join(known)}"
            )
        for name, value in self.values().items():
            if not (math.isfinite(value) and value > 0):
                raise InvalidArgument(f"{name}={value!r}: a positive number is expected")

    @classmethod
    def of(cls, board: Board) -> Constants:
        """Return the constants of a board."""
        return cls(
            board.name,
            "published figures",
            board.dispatch.value,
            board.matrix.value,
            board.vector.value,
            board.dram.value,
            {str(readers): rate.value for readers, rate in board.dram_sharded.items()},
            board.host.value,
        )

    def values(self) -> dict[str, float]:
        """Return the constants by name; a rate of shards is ``dram_sharded.READERS``."""
        plain = {name: getattr(self, name) for name in ("dispatch", "matrix", "vector", "dram")}
        sharded = {f"dram_sharded.{readers}": rate for readers, rate in self.dram_sharded.items()}
        return {**plain, **sharded, "host": self.host}

    def with_values(self, source: str, values: Mapping[str, float]) -> Constants:
        """Return the same with other values, by the names of :meth:`values`; those not named stay."""
        new = {**self.values(), **values}
        sharded = {readers: new[f"dram_sharded.{readers}"] for readers in self.dram_sharded}
        return Constants(
            self.board, source, new["dispatch"], new["matrix"], new["vector"], new["dram"], sharded, new["host"]
        )

    def board_with(self) -> Board:
        """Return the board with these constants in the place of its own."""
        board = BOARDS[self.board]

        def number(old: Number, value: float) -> Number:
            return old if value == old.value else Number(value, old.unit, self.source)

        return replace(
            board,
            dispatch=number(board.dispatch, self.dispatch),
            matrix=number(board.matrix, self.matrix),
            vector=number(board.vector, self.vector),
            dram=number(board.dram, self.dram),
            dram_sharded={
                readers: number(rate, self.dram_sharded[str(readers)]) for readers, rate in board.dram_sharded.items()
            },
            host=number(board.host, self.host),
        )

    def to_json(self) -> str:
        """Return what :func:`read` reads."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, allow_nan=False) + "\n"


def read(path: Path) -> Constants:
    """Read constants from a file that ``fit`` wrote. Raises ``InvalidArgument``, which names the file."""
    where = f"the constants {str(path)!r}"
    try:
        content = json_object(path, _MOST_BYTES)
    except ValueError as error:
        raise InvalidArgument(f"{where}: {error}. Write them anew with `fit`") from None
    if content.pop("format", None) != FORMAT:
        raise InvalidArgument(f"{where}: format {FORMAT} is expected. Write them anew with `fit`")
    return record(Constants, content, where)
