"""Shards by width on a device: whose grid and banks they fit, and plans that have them."""

from __future__ import annotations

import pytest
from transformers import SpeechT5Config

from compiler import CompiledSpeechT5, CompileOptions
from compiler.device.findings import Plan
from compiler.device.session import Session
from compiler.dialects.aten import ops
from compiler.dialects.ttnn.program import program
from compiler.errors import InvalidArgument
from compiler.inspect import checking
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.pipeline import OPTIONAL
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from compiler.target.boards import BOARDS
from passes.shard_weights import DramModel, ShardWeights
from passes.width_shards import Grid
from tests.device.conftest import Mocks
from tests.lowering.cases.sketch import Spec
from tests.models import lively


@pytest.fixture(scope="module")
def compiled() -> CompiledSpeechT5:
    """The default configuration with one layer, traced once for all plans."""
    model = lively(SpeechT5Config(encoder_layers=1, decoder_layers=1))
    return CompiledSpeechT5(model, CompileOptions(precision="bfloat16"))


def by_width(memory: Memory, shards: int) -> TensorType:
    return TensorType((1, 1, 768), DType.BFLOAT16, Layout.TILE, memory, shards)


@pytest.mark.parametrize(
    ("memory", "shards", "there"),
    [
        (Memory.L1_WIDTH_SHARDED, 12, "8 by 8 cores, of which they fill no rectangle"),
        (Memory.L1_WIDTH_SHARDED, 72, "8 by 8 cores, of which they fill no rectangle"),
        (Memory.DRAM_WIDTH_SHARDED, 8, "12 banks of DRAM"),
    ],
)
def test_a_plan_for_another_board_is_refused(
    session: Session, on_device: bool, memory: Memory, shards: int, there: str
) -> None:
    if on_device:
        pytest.skip("the numbers are those of an n150")
    with pytest.raises(InvalidArgument) as error:
        session.call("tests.device.inside:placed", by_width(memory, shards))
    assert f"this device has {there}: it was made for another board. Compile for this one" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["p150", "p100"])
def test_readers_of_a_bank_have_something_to_write(name: str, mocks: Mocks) -> None:
    """Widths that fill the banks badly, with more readers a bank being faster."""
    board = BOARDS[name]
    pace = DramModel(int(board.banks.value), 1.0, ((1, 2.0), (2, 3.0), (3, 4.0)), flops=1e15, gap=0.0)
    step = ShardWeights(Grid(board.columns, board.rows), pace)
    found: dict[int, int] = {}
    with mocks(name) as session:
        for tiles in (9, 17, 20, 21, 25):
            case = Spec("", lambda s, n=32 * tiles: s(ops.linear.default, s.x(1, 1, 64), s.w(n, 64)), (step,))
            drawn = case.sketch()
            executable = Executable(drawn.lowered(DType.BFLOAT16), Weights(drawn.parameters))
            checked = session.call("compiler.device.checks:check", Plan.of(executable, "linear"))
            assert checked.complaints == (), tiles
            told = (program(node).readers for node in executable.graph.nodes)
            found[tiles] = next(readers for readers in told if readers is not None)
    assert found == {9: 2, 17: 1, 20: 1, 21: 3, 25: 1}, "as many as there are columns for, in the banks that hold some"


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["bfloat16", "bfloat8_b"])
@pytest.mark.parametrize("board", BOARDS)
def test_every_board_takes_each_optional_pass_and_all(
    compiled: CompiledSpeechT5, board: str, weights: str, mocks: Mocks
) -> None:
    for enable in ((), *((name,) for name in sorted(OPTIONAL)), tuple(sorted(OPTIONAL))):
        planned = compiled.with_plan(weights=weights, board=board, enable=enable)
        (found,) = checking.check(planned, board, session=mocks, text=40, steps=70, graphs=["decoder_step"])
        assert found.passed, (enable, found.graphs[0].complaints)
