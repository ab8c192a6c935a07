"""Transposed convolution over time, which a device does as one over an image of width one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional

from compiler.dialects.ttnn.convolution import ACTIVATIONS, LEFT_OUT, ROUNDING, legality, programs
from compiler.dialects.ttnn.cost import Cost
from compiler.dialects.ttnn.fused import Fused, applied
from compiler.dialects.ttnn.height_convolution import Pair, over_height
from compiler.dialects.ttnn.numerics import Numerics
from compiler.dialects.ttnn.op import ttnn_op
from compiler.ir.types import TensorType


def _flops(operands: Mapping[str, TensorType], results: Sequence[TensorType]) -> int:
    """Each element of the input meets each tap and output channel of its group once."""
    _, outer, taps, _ = operands["weight_tensor"].shape
    return 2 * operands["input_tensor"].elements * outer * taps


@ttnn_op(
    "ttnn.conv_transpose2d",
    rounding=ROUNDING,
    left_out=LEFT_OUT,
    legality=legality(output_axis=1),
    cost=Cost(flops=_flops, programs=programs, matrix=True),
)
def conv_transpose2d(
    _: Numerics,
    input_tensor: Tensor,
    weight_tensor: Tensor,
    bias_tensor: Tensor | None = None,
    *,
    in_channels: int,
    out_channels: int,
    batch_size: int,
    input_height: int,
    input_width: int,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    activation: Fused | None = None,
) -> Tensor:
    """Channels last: [1, 1, n * l, c] and a weight [in, out / groups, taps, 1] to [1, 1, n * l_out, out]."""
    over_height(
        kernel_size=kernel_size, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
    bias = None if bias_tensor is None else bias_tensor.reshape(-1)
    rows = input_tensor.reshape(batch_size, input_height, in_channels)
    # As for a convolution over time, channels stay last in torch's memory.
    image = functional.conv_transpose2d(
        rows.mT[:, :, None],
        weight_tensor[..., 0][:, :, None],
        bias,
        stride[::-1],
        padding[::-1],
        output_padding[::-1],
        groups,
        dilation[::-1],
    )
    return applied(image[:, :, 0].mT, activation, ACTIVATIONS).reshape(1, 1, -1, out_channels)
