"""The exponential as the device's vector unit approximates it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SLOPE = 256.0 / math.log(2.0)
"""Steps of 1/256 of a power of two for each unit of the argument."""
OFFSET = 32500.818359375
"""127 * 256, float32's exponent of one, less the correction that the kernel takes."""
LARGEST = 32767
"""The largest number of 16 bits with a sign, to which the kernel converts."""


def approximate_exponential(x: Tensor) -> Tensor:
    """exp(x) of a float32 tensor as Tenstorrent's attention approximates it: a line laid into the bits of a float.

    Schraudolph's algorithm with eight bits of the fraction: a float's bits, read as an integer, grow with the logarithm
    of the number, and in between the power of two is taken for a line. For x from -87 to 0 the result is off by at most
    3.2 %, by +1 % on average, and by -2.2 % at zero. Arguments above 0.72 give what 0.72 gives, and below -88 the
    result is zero: the kernel's is negative there, and is packed as zero.

    Source: ``exp_init`` with ``APPROXIMATION_MODE`` and without ``CLAMP_NEGATIVE`` in ``ckernel_sfpu_exp.h`` of ttnn
    0.81.1, and ``sub_exp_block_bcast_cols_inplace`` in ``sdpa/device/kernels/compute/compute_common.hpp``.
    """
    bits = (x * SLOPE + OFFSET).round().clamp(0, LARGEST).to(torch.int32) << 15
    return bits.view(torch.float32)
