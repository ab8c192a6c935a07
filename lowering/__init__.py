"""From ATen to TTNN: one rule per ATen op, one table entry per TTNN op that the rules emit.

Importing the package registers all of them.
"""

from compiler.dialects.ttnn import decode_attention as decoding
from compiler.dialects.ttnn import heads
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
)

__all__ = [
    "activations",
    "attention",
    "convolution",
    "decoding",
    "elementwise",
    "embedding",
    "heads",
    "linear",
    "normalization",
    "position",
    "reduction",
    "shape",
]
