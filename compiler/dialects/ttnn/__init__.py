"""TTNN ops: what each means, where it is legal, what it costs.

Importing the package enters all of them into the table.
"""

from compiler.dialects.ttnn import (
    activations,
    attention,
    convolution,
    decode_attention,
    elementwise,
    embedding,
    heads,
    height_convolution,
    linear,
    normalization,
    position,
    reduction,
    shape,
    transposed_convolution,
)

__all__ = [
    "activations",
    "attention",
    "convolution",
    "decode_attention",
    "elementwise",
    "embedding",
    "heads",
    "height_convolution",
    "linear",
    "normalization",
    "position",
    "reduction",
    "shape",
    "transposed_convolution",
]
