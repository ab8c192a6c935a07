"""What the tests of the lowering run: graphs of each op, and how close they come."""

from __future__ import annotations

from tests.lowering.cases.activations import NAMED
from tests.lowering.cases.attention import ATTENTION
from tests.lowering.cases.blocks import BLOCKS
from tests.lowering.cases.caches import CACHES
from tests.lowering.cases.convolutions import CONVOLUTIONS
from tests.lowering.cases.elementwise import ACTIVATIONS, ARITHMETIC
from tests.lowering.cases.heads import HEADS
from tests.lowering.cases.linear import LINEAR
from tests.lowering.cases.norms import NORMS
from tests.lowering.cases.shape import SHAPE
from tests.lowering.cases.shards import SHARDS
from tests.lowering.cases.sketch import Spec

CASES: tuple[Spec, ...] = (
    *SHAPE,
    *ARITHMETIC,
    *ACTIVATIONS,
    *NAMED,
    *LINEAR,
    *NORMS,
    *CONVOLUTIONS,
    *ATTENTION,
    *CACHES,
    *HEADS,
    *SHARDS,
    *BLOCKS,
)
