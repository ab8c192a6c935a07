"""The vocoder on ttnn's mock of an n150: accepted whole and in windows, in shards, compiled once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import compiler
from compiler.device.findings import GraphCheck
from compiler.inspect import checking
from compiler.speecht5 import vocoder_budgets
from compiler.speecht5.windows import Window
from tests.device.conftest import Mocks
from tests.vocoders import config, lively

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "the small one": {},
    "a sample over, and an odd rate": {"upsample_rates": [3, 2], "upsample_kernel_sizes": [7, 5]},
    "wide dilations": {"resblock_kernel_sizes": [11], "resblock_dilation_sizes": [[1, 12]]},
    "one tap, no slope": {
        "resblock_kernel_sizes": [1],
        "resblock_dilation_sizes": [[1, 1]],
        "leaky_relu_slope": 0.0,
        "normalize_before": False,
    },
}


@pytest.mark.parametrize("changes", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_board_takes_it(changes: dict[str, Any], mocks: Mocks) -> None:
    compiled = compiler.compile_vocoder(lively(config(**changes)), windows=(48,), precision="bfloat16")
    (found,) = checking.check(compiled, "n150", session=mocks, frames=48)
    assert found.passed, checking.complaints([found])
    assert [graph.graph for graph in found.graphs] == ["vocoder", "short_vocoder"]
    assert all(graph.equal == graph.ops for graph in found.graphs)
    if not changes:
        # Two stages: 2 each for 16 convolutions of blocks, 8 sums of residuals, and 2 of blocks; the first and the
        # transposed convolutions, each with what deals rows out anew; the mean that is taken off, and the sound out.
        assert found.graphs[0].programs == 32 + 8 + 2 + 2 + 2 * 3 + 1 + 3
        assert found.graphs[0].programs == sum(
            node.op.cost.programs(node) for node in compiled.graph("vocoder").graph.nodes
        ), "as the cost model says"
        assert vocoder_budgets._between(found.graphs[0]) == 0
        assert found.graphs[0].device_operations["Reshard"] == 2, "behind each transposed convolution"


def test_two_rows_together(mocks: Mocks) -> None:
    compiled = compiler.compile_vocoder(lively(config()), windows=(32,), precision="bfloat16", batch_size=2)
    (found,) = checking.check(compiled, "n150", session=mocks, graphs=["vocoder"], frames=32)
    assert found.passed, checking.complaints([found])


def test_what_a_check_says_of_the_budgets() -> None:
    none = GraphCheck("", 0, 0, 0, 0, {}, {}, 0, 0, 0, 1, 0, ())
    graphs = {
        200: replace(none, programs=200, l1_bytes=5, l1_limit=10),
        512: replace(
            none, programs=300, l1_bytes=8, l1_limit=10, device_operations={"ShardedToInterleaved": 1, "Reshard": 2}
        ),
    }
    windows = [Window(0, 512, 512, 0, 4000), Window(0, 512, 512, 4000, 8000)]
    rows = vocoder_budgets.budgets("n150", graphs, windows, 0.016)
    assert [(row.ours, row.met) for row in rows] == [
        (200, True),
        (0, True),
        (pytest.approx(600 / 128, abs=1e-3), True),
        (0, True),
        (2, True),
        (0.8, True),
    ]
    worse = {
        200: replace(none, programs=206),
        512: replace(
            none,
            programs=9000,
            l1_bytes=2,
            compiled_again=1,
            device_operations={"InterleavedToSharded": 1, "Reshard": 5},
        ),
    }
    assert [row.met for row in vocoder_budgets.budgets("n150", worse, windows, 0.016)] == [False] * 6
