"""KeepActivated on a whole network; which residuals are kept and refused is in ``cases/keep_activated``."""

from compiler.ir.operation import Stage
from passes.fuse_activation import FuseActivation
from passes.keep_activated import KeepActivated
from tests.passes.interpret import changed, ops_of
from tests.passes.upsampling import CHANNELS_LAST, lowered, network


def test_no_leaky_relu_of_a_vocoder_is_a_program_of_its_own() -> None:
    case = lowered(network(), *CHANNELS_LAST)
    assert ops_of(case.graph).count("ttnn.leaky_relu") == 9
    kept = changed(KeepActivated(), case, Stage.TTNN)
    assert ops_of(FuseActivation().run(kept)).count("ttnn.leaky_relu") == 0
    assert ops_of(FuseActivation().run(case.graph)).count("ttnn.leaky_relu") > 4
