"""The exponential as attention's kernel approximates it."""

from __future__ import annotations

import torch

from compiler.dialects.ttnn.exponential import approximate_exponential
from tests.lowering.bounds import off_by


def test_it_is_off_by_no_more_than_is_said_and_than_the_cases_allow() -> None:
    x = torch.linspace(-87, 0, 1_000_001)
    error = approximate_exponential(x).double() / x.double().exp() - 1
    assert 0.99 * off_by() <= error.abs().max() <= 0.032
    assert error.std() <= 0.018
    assert 0.005 <= error.mean() <= 0.015


def test_its_bits_are_those_of_the_kernel() -> None:
    """Worked by hand from the kernel's constants: 32500.8 at zero is 126 and 245 of 256."""
    made = approximate_exponential(torch.tensor([0.0, -1.0, 1.0, -100.0, -torch.inf]))
    whole = 2.0**-1 * (1 + 245 / 256), 2.0**-2 * (1 + 131 / 256), 2.0**0 * (1 + 255 / 256), 0.0, 0.0
    assert made.tolist() == list(whole)
