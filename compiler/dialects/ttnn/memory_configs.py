"""Where ttnn is to keep a tensor: its memory configuration and element type, as data."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.dialects.ttnn.symbols import Argument, Made, Named, made
from compiler.errors import InvalidArgument
from compiler.ir.types import DType, Layout, Memory, TensorType


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What a call of ttnn depends on of the device that it is for.

    ``arch`` is ttnn's name of the architecture, ``columns`` by ``rows`` the grid of cores, ``banks`` those of DRAM.
    ``replicas`` devices each run the whole graph.
    """

    arch: str
    columns: int
    rows: int
    banks: int
    replicas: int = 1

    @property
    def cores(self) -> int:
        return self.columns * self.rows

    @property
    def grid(self) -> Made:
        """The grid of cores, as ttnn wants it."""
        return made("ttnn.CoreCoord", self.columns, self.rows)

    def first_cores(self, count: int) -> Made:
        """The rectangle that the first ``count`` cores fill, row after row."""
        return made("ttnn.CoreCoord", min(count, self.columns), -(-count // self.columns))


DTYPES = {
    DType.BFLOAT16: Named("ttnn.bfloat16"),
    DType.BFLOAT8_B: Named("ttnn.bfloat8_b"),
    DType.FLOAT32: Named("ttnn.float32"),
    DType.UINT32: Named("ttnn.uint32"),
    DType.UINT16: Named("ttnn.uint16"),
    DType.INT32: Named("ttnn.int32"),
}
LAYOUTS = {Layout.TILE: Named("ttnn.TILE_LAYOUT"), Layout.ROW_MAJOR: Named("ttnn.ROW_MAJOR_LAYOUT")}
_INTERLEAVED = {Memory.DRAM: Named("ttnn.DRAM_MEMORY_CONFIG"), Memory.L1: Named("ttnn.L1_MEMORY_CONFIG")}


def layout(type: TensorType) -> Named:
    """How a tensor of a type is laid out: in tiles, unless it says else."""
    return LAYOUTS[type.layout or Layout.TILE]


def memory_config(type: TensorType, device: DeviceSpec) -> Argument:
    """Where a tensor of a type is kept: a sharded one's shards follow from its rows and the device's grid of cores.

    Raises ``InvalidArgument`` for shards by width that the device's cores or banks do not hold.
    """
    if type.by_width:
        return _by_width(type, device)
    if type.memory is not Memory.L1_HEIGHT_SHARDED:
        return _INTERLEAVED[type.memory or Memory.DRAM]
    rows = type.shard_rows(device.cores)
    places = _places(-(-type.padded_rows // rows), device.grid)
    return _sharded("HEIGHT_SHARDED", "L1", places, (rows, type.padded_shape[-1]))


def _by_width(type: TensorType, device: DeviceSpec) -> Made:
    """Shards over the first cores of the grid, row after row, or over the banks of DRAM."""
    assert type.shards is not None
    shape = type.padded_rows, type.shard_columns
    if type.memory is Memory.L1_WIDTH_SHARDED:
        kind, where = "L1", device.grid
        fits = type.shards <= device.columns or (type.shards % device.columns == 0 and type.shards <= device.cores)
        there = f"{device.columns} by {device.rows} cores, of which they fill no rectangle"
    else:
        kind, where = "DRAM", made("ttnn.CoreCoord", device.banks, 1)
        fits, there = type.shards == device.banks, f"{device.banks} banks of DRAM"
    if not fits:
        raise InvalidArgument(
            f"the plan has a tensor {type}, and this device has {there}: it was made for another board. Compile for "
            "this one with the option board, or leave out the passes shard-norms and shard-weights"
        )
    return _sharded("WIDTH_SHARDED", kind, _places(type.shards, where), shape)


def _places(count: int, of: Made) -> Made:
    return made("ttnn.num_cores_to_corerangeset", count, of, row_wise=True)


def _sharded(kind: str, memory: str, places: Made, shape: tuple[int, int]) -> Made:
    shards = made("ttnn.ShardSpec", places, shape, Named("ttnn.ShardOrientation.ROW_MAJOR"))
    layout, buffer = Named(f"ttnn.TensorMemoryLayout.{kind}"), Named(f"ttnn.BufferType.{memory}")
    return made("ttnn.MemoryConfig", layout, buffer, shards)
