"""Tenstorrent boards in numbers, each with its source: what the cost model reckons with."""

from __future__ import annotations

from dataclasses import dataclass

_CARDS = "docs.tenstorrent.com/aibs"
_REPORTS = "github.com/tenstorrent/tt-metal/tree/main/tech_reports"
_ENGINE = f"{_REPORTS}/matrix_engine/matrix_engine.md"
_GRID = "the compute grid that ttnn 0.81.1 opens on its mock device of the board"
_L1 = (
    "total_bytes_per_bank of ttnn.get_memory_view in ttnn 0.81.1 on its mock device of the board, a bank being a core, "
    "down to where a program's buffers begin, a multiple of 64 bytes"
)
_BANKS = "num_banks of ttnn.get_memory_view of DRAM in ttnn 0.81.1 on its mock device of the board"
_WORMHOLE_DRAM = (
    f"288 GB/s a chip ({_CARDS}/wormhole/specifications.html), of which a reader a bank gets 267: "
    f"{_REPORTS}/Saturating_DRAM_bandwidth/Saturating_DRAM_bandwidth.md"
)
_BLACKHOLE_DRAM = (
    f"({_CARDS}/blackhole/), of which a reader a bank gets 500 of 512: "
    f"{_REPORTS}/Saturating_DRAM_bandwidth/Saturating_DRAM_bandwidth_Blackhole.md"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number of the model, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


DISPATCH = Number(
    4000,
    "cycles",
    "between two programs of a trace, measured on Wormhole: github.com/tenstorrent/tt-metal/issues/12074; "
    "taken for Blackhole too",
)
"""Clock cycles from the end of one device program to the start of the next."""
MATRIX = Number(4096, "FLOP/cycle", f"8x16 by 16x16 a cycle in one pass (LoFi), Wormhole and Blackhole: {_ENGINE}")
"""What a core's matrix engine does in a cycle, a product and its addition being two."""
VECTOR = Number(32, "FLOP/cycle", f"element by element in HiFi4, 0.032 TFLOPS at 1 GHz: {_ENGINE}")
"""What a core does in a cycle where no products are summed."""
PASSES = {"lofi": 1, "hifi2": 2, "hifi3": 3, "hifi4": 4}
"""Passes of the matrix engine over the operands' mantissas, by the beginning of a compute configuration's name."""


LINK = Number(
    15.07e9,
    "bytes/s",
    "14,373 MiB/s from host to DRAM in pages of 2048 bytes, which a tile has, on a machine that is not named: "
    "github.com/tenstorrent/tt-metal/pull/25791; taken for all boards",
)
"""What a board gets from its host, over PCIe and through ttnn's command queue; a write's fixed cost is left out."""


@dataclass(frozen=True, slots=True)
class Board:
    """One chip of a board. ``chips`` run replicas of a plan, side by side: no plan is spread over two.

    ``dram`` is what can be reached of the memory's bandwidth, not what is on the data sheet, and ``banks`` are those
    that a tensor is dealt out over there. ``l1`` is what programs and tensors share of a core's L1.
    """

    name: str
    chips: int
    cores: Number
    clock: Number
    dram: Number
    banks: Number
    l1: Number

    @property
    def link(self) -> float:
        """Bytes that a chip gets from the host in a second: chips of one board share its link."""
        return LINK.value / self.chips

    @property
    def bytes_per_program(self) -> int:
        """Bytes that the host sends to a chip in the time between two programs."""
        return int(self.link * self.gap)

    @property
    def moved_per_program(self) -> int:
        """Bytes that the DRAM moves in the time between two programs."""
        return int(self.dram.value * self.gap)

    @property
    def gap(self) -> float:
        """Seconds between two programs."""
        return DISPATCH.value / self.clock.value


def _board(
    name: str, chips: int, grid: str, ghz: float, dram: float, banks: int, l1: int, clock_source: str, dram_source: str
) -> Board:
    columns, rows = map(int, grid.split("x"))
    return Board(
        name,
        chips,
        Number(columns * rows, "cores", f"{grid}: {_GRID}"),
        Number(ghz * 1e9, "cycles/s", clock_source),
        Number(dram * 1e9, "bytes/s", dram_source),
        Number(banks, "banks", _BANKS),
        Number(l1, "bytes", _L1),
    )


_WORMHOLE = (f"{_CARDS}/wormhole/specifications.html", _WORMHOLE_DRAM)
_BLACKHOLE = f"up to, {_CARDS}/blackhole/"
BOARDS = {
    board.name: board
    for board in (
        _board("n150", 1, "8x8", 1.0, 267, 12, 1_393_216, *_WORMHOLE),
        _board("n300", 2, "8x7", 1.0, 267, 12, 1_393_216, *_WORMHOLE),
        _board("p150", 1, "13x10", 1.35, 500, 8, 1_461_120, _BLACKHOLE, f"512 GB/s {_BLACKHOLE_DRAM}"),
        _board("p100", 1, "11x10", 1.35, 437, 7, 1_461_120, _BLACKHOLE, f"448 GB/s {_BLACKHOLE_DRAM}"),
    )
}
"""The boards by name."""
