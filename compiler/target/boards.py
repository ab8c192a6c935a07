"""Describe Tenstorrent boards in numbers, each with its source: the inputs of the cost model and of the planners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.dialects.ttnn.program import Fidelity

_CARDS = "docs.tenstorrent.com/aibs"
_REPORTS = "github.com/tenstorrent/tt-metal/tree/main/tech_reports"
_ENGINE = f"{_REPORTS}/matrix_engine/matrix_engine.md"
_GRID = "the compute grid that ttnn 0.81.1 opens on its mock device of the board"
_L1 = (
    "total_bytes_per_bank of ttnn.get_memory_view in ttnn 0.81.1 on its mock device of the board, a bank being a core, "
    "down to where a program's buffers begin, a multiple of 64 bytes"
)
_BANKS = "num_banks of ttnn.get_memory_view of DRAM, in ttnn 0.81.1 on its mock device of the board"
_SATURATING = f"{_REPORTS}/Saturating_DRAM_bandwidth/Saturating_DRAM_bandwidth"
_ISSUES = "github.com/tenstorrent/tt-metal"
_WORMHOLE_PAGES = (
    f"of 288 GB/s a chip ({_CARDS}/wormhole/specifications.html), tiles read from all banks in turn: "
    f"{_ISSUES}/issues/6729; in a matmul rather less, it takes 1.37 times as long as on shards: {_ISSUES}/pull/42593"
)
_WORMHOLE_SHARDS = (
    f"of 288 GB/s a chip, the DRAM-sharded matmul in the decode step of Llama3-70B, at least: {_SATURATING}.md"
)
_BLACKHOLE_PAGES = (
    f"67 % of {{}} GB/s ({_CARDS}/blackhole/), for readers that are not beside the bank that they read: "
    f"{_SATURATING}_Blackhole.md"
)
_BLACKHOLE_SHARDS = "{} % of {} GB/s, the DRAM-sharded matmul with {}: " + f"{_ISSUES}/pull/54242"


@dataclass(frozen=True, slots=True)
class Number:
    """An input of the cost model: value, unit and source."""

    value: float
    unit: str
    source: str


DISPATCH = Number(
    4000,
    "cycles",
    "between two programs of a trace, measured on Wormhole: github.com/tenstorrent/tt-metal/issues/12074; "
    "taken for Blackhole too",
)
"""Cycles from the end of one device program to the start of the next."""
MATRIX = Number(4096, "FLOP/cycle", f"8x16 by 16x16 a cycle in one pass (LoFi), Wormhole and Blackhole: {_ENGINE}")
"""FLOPs per cycle of a core's matrix engine; a multiply and its add count as two."""
VECTOR = Number(32, "FLOP/cycle", f"element by element in HiFi4, 0.032 TFLOPS at 1 GHz: {_ENGINE}")
"""FLOPs per cycle of a core for all other work."""
PASSES = {Fidelity.LOFI: 1, Fidelity.HIFI2: 2, Fidelity.HIFI3: 3, Fidelity.HIFI4: 4}
"""Passes of the matrix engine over the operands' mantissas."""


LINK = Number(
    15.07e9,
    "bytes/s",
    "14,373 MiB/s from host to DRAM in pages of 2048 bytes, which a tile has, on a machine that is not named: "
    "github.com/tenstorrent/tt-metal/pull/25791; taken for all boards",
)
"""Rate from host to board, over PCIe and through ttnn's command queue. The fixed cost of a write is left out."""


@dataclass(frozen=True, slots=True)
class Board:
    """One chip of a board.

    ``chips`` is the number of chips. Each runs a replica of a plan; no plan spans two. ``arch`` is ttnn's name of the
    architecture. ``columns`` and ``rows`` are those of the grid of cores. ``dram`` is the bandwidth that was reached
    (not the data sheet's) when pages are read from all banks in turn. ``dram_sharded`` is that of shards which cores
    beside each bank read, by the number of readers per bank. ``banks`` are the DRAM banks. ``l1`` are the bytes of a
    core's L1 that programs and tensors share. ``dispatch``, ``matrix``, ``vector`` and ``host`` are what the boards
    share (``DISPATCH``, ``MATRIX``, ``VECTOR``, ``LINK``), unless they were fitted for this one.
    """

    name: str
    arch: str
    chips: int
    columns: int
    rows: int
    cores: Number
    clock: Number
    dram: Number
    dram_sharded: Mapping[int, Number]
    banks: Number
    l1: Number
    dispatch: Number = DISPATCH
    matrix: Number = MATRIX
    vector: Number = VECTOR
    host: Number = LINK

    @property
    def device(self) -> DeviceSpec:
        """What calls of ttnn depend on of this board, on one chip of it."""
        return DeviceSpec(self.arch, self.columns, self.rows, int(self.banks.value))

    @property
    def link(self) -> float:
        """Bytes per second from the host to one chip; the chips of a board share its link."""
        return self.host.value / self.chips

    @property
    def bytes_per_program(self) -> int:
        """Bytes that the host can send to a chip during the gap between two programs."""
        return int(self.link * self.gap)

    @property
    def moved_per_program(self) -> int:
        """Bytes that the DRAM can move during the gap between two programs."""
        return int(self.dram.value * self.gap)

    @property
    def gap(self) -> float:
        """Seconds between two programs."""
        return self.dispatch.value / self.clock.value


def _board(
    name: str,
    arch: str,
    chips: int,
    grid: str,
    clock: tuple[float, str],
    dram: tuple[float, str],
    dram_sharded: Mapping[int, tuple[float, str]],
    banks: int,
    l1: int,
) -> Board:
    columns, rows = map(int, grid.split("x"))
    return Board(
        name,
        arch,
        chips,
        columns,
        rows,
        Number(columns * rows, "cores", f"{grid}: {_GRID}"),
        Number(clock[0] * 1e9, "cycles/s", clock[1]),
        Number(dram[0] * 1e9, "bytes/s", dram[1]),
        {readers: Number(rate * 1e9, "bytes/s", source) for readers, (rate, source) in dram_sharded.items()},
        Number(banks, "banks", _BANKS),
        Number(l1, "bytes", _L1),
    )


def _wormhole(name: str, chips: int, grid: str) -> Board:
    clock = (1.0, f"{_CARDS}/wormhole/specifications.html")
    shards = {1: (239.0, _WORMHOLE_SHARDS)}
    return _board(name, "WORMHOLE_B0", chips, grid, clock, (185.0, _WORMHOLE_PAGES), shards, 12, 1_393_216)


def _blackhole(name: str, grid: str, banks: int, sheet: int) -> Board:
    clock = (1.35, f"up to, {_CARDS}/blackhole/")
    shards = {
        1: (0.55 * sheet, _BLACKHOLE_SHARDS.format(55, sheet, "one reader a bank")),
        2: (0.9 * sheet, _BLACKHOLE_SHARDS.format(90, sheet, "more readers a bank")),
        3: (0.9 * sheet, _BLACKHOLE_SHARDS.format(90, sheet, "more readers a bank")),
    }
    dram = (0.67 * sheet, _BLACKHOLE_PAGES.format(sheet))
    return _board(name, "BLACKHOLE", 1, grid, clock, dram, shards, banks, 1_461_120)


BOARDS = {
    board.name: board
    for board in (
        _wormhole("n150", 1, "8x8"),
        _wormhole("n300", 2, "8x7"),
        _blackhole("p150", "13x10", 8, 512),
        _blackhole("p100", "11x10", 7, 448),
    )
}
"""Boards by name."""


def fitting(cores: int, banks: int) -> list[str]:
    """Return the boards whose plans fit a device of so many cores and DRAM banks, the one with most cores first."""
    fits = [board for board in BOARDS.values() if board.cores.value <= cores and board.banks.value == banks]
    return [board.name for board in sorted(fits, key=lambda board: -board.cores.value)]
