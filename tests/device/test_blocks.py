"""bfloat8_b: what the reference executor models is what ttnn's own conversion on the host keeps."""

from __future__ import annotations

import pytest
import torch

from compiler.device.session import Session
from compiler.runtime.weights import in_blocks
from tests.shared import shared

NORMAL = torch.Generator().manual_seed(0)
ROWS = {
    "normal": torch.randn(64, 96, generator=NORMAL),
    "negative": -torch.rand(64, 64, generator=NORMAL),
    "zero": torch.zeros(32, 32),
    "huge": torch.randn(32, 64, generator=NORMAL) * 1e38,
    "around the least normal number": torch.randn(64, 64, generator=NORMAL) * 1e-38,
    "denormal": torch.randn(32, 64, generator=NORMAL) * 1e-41,
    "of many sizes": torch.randn(64, 64, generator=NORMAL) * torch.exp(10 * torch.randn(64, 64, generator=NORMAL)),
    "halfway": torch.randint(-255, 256, (64, 64), generator=NORMAL).float() / 2,
    "just below a power of two": 2 - 0.02 * torch.rand(32, 32, generator=NORMAL),
    "that fill no tile": torch.randn(5, 40, generator=NORMAL),
    "of heads": torch.randn(1, 3, 64, 64, generator=NORMAL),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_it_is_what_ttnn_s_own_conversion_keeps(session: Session, rows: torch.Tensor) -> None:
    """In all elements, the sign of zero left aside."""
    theirs = session.call("tests.device.inside:kept_in_blocks", rows)
    assert torch.equal(in_blocks(rows), theirs)
    assert torch.equal(in_blocks(theirs), theirs), "a weight that is converted twice is as it was after once"


def test_a_convolution_s_weight_is_rows_of_output_channels(session: Session) -> None:
    """ttnn brings a weight [out, in, taps] to a matrix [taps * in, out], and the bias to its type.

    Its rows are blocks of output channels, in whatever order they stand: so hold ours what ttnn's own conversion keeps.
    """
    postnet = shared(precision="bfloat16", weights="bfloat8_b")[1].postnet
    constants = postnet.graph.constants
    assert [len(c.value.type.shape) for c in constants] == [3, 4] * (len(constants) // 2)
    weights = [postnet._weights[constant.expression] for constant in constants]
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        out, inner, taps = weight.shape
        matrix, row = session.call("tests.device.inside:prepared", weight, bias)
        assert matrix == ((1, 1, taps * inner, out), "DataType.BFLOAT8_B")
        assert row == ((1, 1, 1, out), "DataType.BFLOAT8_B")
    for constant, weight in zip(constants, weights, strict=True):
        rows, held = (
            tensor.permute(2, 1, 0).flatten(0, 1) if tensor.dim() == 3 else tensor.view(1, -1)
            for tensor in (weight, postnet.weight(constant))
        )
        assert torch.equal(held, session.call("tests.device.inside:kept_in_blocks", rows))
        assert not torch.equal(held, rows)
