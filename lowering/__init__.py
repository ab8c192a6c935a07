"""From ATen to TTNN: one rule per ATen op. Importing the package registers all of them."""

from lowering import (
    activations,
    attention,
    convolution,
    elementwise,
    embedding,
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
    "elementwise",
    "embedding",
    "linear",
    "normalization",
    "position",
    "reduction",
    "shape",
    "transposed_convolution",
]
