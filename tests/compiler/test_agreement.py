"""What counts as close: a correlation, and an error beside it."""

from __future__ import annotations

import math

import pytest
import torch

from compiler.inspect.agreement import Agreement, agreement, error_bar

RANDOM = torch.Generator().manual_seed(0)
WANTED = torch.randn(100, 1000, generator=RANDOM)
NOISE = torch.randn(100, 1000, generator=RANDOM)


@pytest.mark.parametrize("bar", [0.99, 0.999])
def test_noise_meets_both_bars_or_neither(bar: float) -> None:
    """The bar on the error is where that on the correlation is, for an error that is noise."""
    below, above = (agreement(WANTED + part * error_bar(bar) * NOISE, WANTED) for part in (0.97, 1.03))
    assert (below.pcc >= bar, below.error <= error_bar(bar)) == (True, True)
    assert (above.pcc >= bar, above.error <= error_bar(bar)) == (False, False)


@pytest.mark.parametrize(
    "wrong", [2 * WANTED, 1.2 * WANTED, WANTED + 1, 0.8 * WANTED + 0.1], ids=["twice", "a fifth", "offset", "both"]
)
def test_scale_and_offset_escape_a_correlation_alone(wrong: torch.Tensor) -> None:
    found = agreement(wrong, WANTED)
    assert found.pcc >= 0.99999
    assert not found.meets(0.99)


def test_what_cannot_be_correlated() -> None:
    constant = torch.full((3, 4), 2.0)
    assert agreement(constant, constant.clone()) == Agreement(1.0, 0.0)
    assert agreement(torch.zeros(3), torch.zeros(3)) == Agreement(1.0, 0.0)
    assert agreement(torch.ones(3), torch.zeros(3)) == Agreement(0.0, math.inf)
    assert agreement(constant + 1, constant) == Agreement(0.0, 0.5)
    assert agreement(torch.tensor([1.0, math.nan]), torch.tensor([1.0, 2.0])) == Agreement(0.0, math.inf)
    with pytest.raises(ValueError, match=r"shapes \[3, 4\] and \[4\]"):
        agreement(constant, constant[0])


def test_a_sign_and_an_order_are_seen() -> None:
    assert agreement(-WANTED, WANTED).pcc == pytest.approx(-1)
    assert agreement(WANTED.flip(1), WANTED).error == pytest.approx(math.sqrt(2), rel=0.02)
