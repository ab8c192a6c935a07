"""FuseAttention on a whole model. What it takes and refuses is in ``cases/fuse_attention``."""

from __future__ import annotations

import pytest

from compiler.ir.operation import Stage
from compiler.pipeline import ATEN_PASSES, run_passes
from passes.fuse_attention import FuseAttention
from passes.rewrite import near_misses
from tests.passes.interpret import ops_of
from tests.sketch import Case


@pytest.mark.slow
@pytest.mark.parametrize(("name", "fused"), [("encoder", 2), ("decoder_step", 4), ("postnet", 0)])
def test_all_attention_of_a_speecht5_is_fused(components: dict[str, Case], name: str, fused: int) -> None:
    graph = run_passes(components[name].graph, ATEN_PASSES, Stage.ATEN)
    assert ops_of(graph).count("scaled_dot_product_attention") == fused
    assert not {"softmax", "bmm"}.intersection(ops_of(graph)) or name == "encoder"
    assert near_misses(FuseAttention(), graph) == []
