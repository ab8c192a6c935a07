"""Small ATen graphs with random data, a few for each op: what the tests of the lowering run.

An error is the largest difference from torch, over the largest magnitude that torch gives. bfloat16 has 8
significant bits: rounding a value changes it by at most half a unit in its last place, so the error of a result that
is rounded once is at most 2^-8, here ``ROUNDING``. Which part of that bound is reached depends on where the largest
value lies between two powers of two, and several roundings seldom point one way. So each case states a number of
roundings with its reason, and a test holds every tolerance to four times the error that is there.

In float32 an op either does what torch does (``SAME``), or sums in another order (``ORDER``): some 2^-24 for each of
the additions that are not in the same place.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from compiler import aten
from compiler.aten import Aten, ops
from compiler.boards import BOARDS
from compiler.constants import Computed, Literal, Parameter, Weights
from compiler.graph import Builder, Graph, Origin, Port, Value
from compiler.pipeline import run_passes
from compiler.types import TILE, DType, TensorType
from compiler.verify import Stage
from lowering import rules
from passes.base import Pass
from passes.concat_heads import ConcatHeads
from passes.flash_decode import FlashDecode
from passes.fuse_activation import FuseActivation
from passes.fuse_bias import FuseBias
from passes.fuse_residual import FuseResidual
from passes.heads_as_views import HeadsAsViews
from passes.make_on_host import MakeOnHost
from passes.mask_by_index import MaskByIndex
from passes.shard_convolutions import ShardConvolutions
from passes.shard_norms import ShardNorms
from passes.shard_weights import Pace, ShardWeights
from passes.split_heads import SplitHeads
from passes.stack_heads import StackHeads
from passes.widen_parts import WidenParts
from passes.width_shards import Grid
from tests.models import CORES, L1_BYTES

ROUNDING = 2**-8
SAME = 0.0
ORDER = 1e-6
LOWEST = torch.finfo(torch.float32).min
"""What Hugging Face adds to masked scores. It has no finite neighbour in bfloat16."""
LOWEST_BFLOAT16 = torch.finfo(torch.bfloat16).min


@dataclass
class Sketch:
    """An ATen graph in the making, with data for its inputs and weights. Calling it appends an op."""

    random: torch.Generator
    builder: Builder = field(default_factory=Builder)
    ports: list[Port] = field(default_factory=list)
    data: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def normal(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Tensor:
        return mean + std * torch.randn(shape, generator=self.random)

    def uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.random)

    def input(self, tensor: Tensor, name: str = "") -> Value:
        name = name or f"input{len(self.ports)}"
        value = Value(TensorType.of(tensor))
        self.ports.append(Port(name, value))
        self.data[name] = tensor
        return value

    def weight(self, tensor: Tensor) -> Value:
        name = f"weight{len(self.weights)}"
        self.weights[name] = tensor
        return self.builder.constant(Parameter(name), TensorType.of(tensor))

    def x(self, *shape: int, **moments: float) -> Value:
        """A normally distributed input."""
        return self.input(self.normal(*shape, **moments))

    def w(self, *shape: int, **moments: float) -> Value:
        """A normally distributed weight."""
        return self.weight(self.normal(*shape, **moments))

    def __call__(self, overload: Any, *args: Any, **kwargs: Any) -> Value:
        origin = Origin("case", f"call {len(self.builder.nodes)}")
        return aten.emit(self.builder, overload, *args, origins=[origin], **kwargs)


Results = Value | Mapping[str, Value]
Build = Callable[[Sketch], Results]


@dataclass(frozen=True, slots=True)
class Case:
    """One graph with its data, how far from torch its results may be in each precision, and why in bfloat16.

    ``passes`` run after lowering, for what no rule emits and a pass does.
    """

    name: str
    build: Build = field(repr=False)
    float32: float
    bfloat16: float
    why: str
    passes: tuple[Pass, ...] = ()
    """TTNN passes that run on the lowered graph: for the ops that only passes emit."""

    def __str__(self) -> str:
        return self.name

    def tolerance(self, dtype: DType) -> float:
        return self.float32 if dtype is DType.FLOAT32 else self.bfloat16

    def sketch(self) -> Drawn:
        """The graph and its data, the same each time."""
        sketch = Sketch(torch.Generator().manual_seed(zlib.crc32(self.name.encode())))
        results = self.build(sketch)
        outputs = results if isinstance(results, Mapping) else {"output": results}
        graph = sketch.builder.graph(self.name, sketch.ports, [Port(name, value) for name, value in outputs.items()])
        return Drawn(graph, sketch.data, sketch.weights, self.passes)


@dataclass(frozen=True, slots=True)
class Drawn:
    """An ATen graph with its inputs and weights, and the passes that its TTNN graph goes through."""

    graph: Graph
    inputs: Mapping[str, Tensor]
    weights: Mapping[str, Tensor]
    passes: tuple[Pass, ...] = ()

    def lowered(self, dtype: DType) -> Graph:
        """The TTNN graph."""
        return run_passes(rules.lower(self.graph, dtype), self.passes, Stage.TTNN)


def run_in_torch(graph: Graph, inputs: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What torch itself makes of an ATen graph, node by node."""
    known = Weights(weights)
    values = {port.value: inputs[port.name] for port in graph.inputs}
    values |= {constant.value: known[constant.expression] for constant in graph.constants}
    for node in graph.nodes:
        operands = [(name, values[value]) for name, value in zip(node.names, node.operands, strict=True)]
        made = node.op.apply(operands, dict(node.attributes))
        values[node.result] = made
    return {port.name: values[port.value] for port in graph.outputs}


def relative_error(got: Tensor, want: Tensor) -> float:
    """Largest difference over largest magnitude; infinite where ``got`` is not finite."""
    if not torch.isfinite(got).all():
        return float("inf")
    return float((got - want).abs().max() / want.abs().max().clamp(min=torch.finfo(torch.float32).tiny))


# --- Elements moved: nothing is computed, so nothing may change ---------------------------------------------

MOVED = "elements are moved and stay as they are"


def moved(name: str, build: Build) -> Case:
    return Case(name, build, SAME, SAME, MOVED)


SHAPE = (
    moved("view merges heads", lambda s: s(ops.view.default, s.x(2, 5, 4, 8), (2, 5, 32))),
    moved("view splits heads", lambda s: s(ops.view.default, s.x(1, 5, 32), (1, 5, 4, 8))),
    moved("view with a size left open", lambda s: s(ops.view.default, s.x(2, 6, 5), (-1, 5))),
    moved("view adds and drops single dimensions", lambda s: s(ops.view.default, s.x(1, 7), (7, 1, 1))),
    moved("view of a vector", lambda s: s(ops.view.default, s.x(33), (3, 11))),
    moved("permute of a matrix", lambda s: s(ops.permute.default, s.x(5, 33), (1, 0))),
    moved("permute of heads", lambda s: s(ops.permute.default, s.x(2, 5, 3, 8), (0, 2, 1, 3))),
    moved("permute in a cycle", lambda s: s(ops.permute.default, s.x(2, 3, 4), (2, 0, 1))),
    moved("permute by negative dimensions", lambda s: s(ops.permute.default, s.x(2, 3, 4), (0, -1, -2))),
    moved("expand of rows", lambda s: s(ops.expand.default, s.x(2, 1, 1, 9), (2, 3, 5, 9))),
    moved("expand to more dimensions", lambda s: s(ops.expand.default, s.x(1, 6), (2, 4, 6))),
    moved("expand with sizes kept", lambda s: s(ops.expand.default, s.x(3, 1, 4), (-1, 2, -1))),
    moved("slice of the first dimension", lambda s: s(ops.slice.Tensor, s.x(6, 5), 0, 2, 4)),
    moved("slice of the last dimension from its end", lambda s: s(ops.slice.Tensor, s.x(2, 3, 7), -1, -3)),
    moved("slice past the end", lambda s: s(ops.slice.Tensor, s.x(2, 7), 1, 3, 2**63 - 1)),
    moved("slice up to a negative end", lambda s: s(ops.slice.Tensor, s.x(2, 7, 2), -2, None, -2)),
    moved("slice with a step that divides", lambda s: s(ops.slice.Tensor, s.x(8, 3), 0, 0, 8, 2)),
    moved("slice with a step that leaves a rest", lambda s: s(ops.slice.Tensor, s.x(2, 9), 1, 1, 9, 3)),
    moved("slice of one row of four dimensions", lambda s: s(ops.slice.Tensor, s.x(2, 3, 4, 5), 2, 3, 4)),
    moved("cat of the last dimension", lambda s: s(ops.cat.default, [s.x(2, 1, 8), s.x(2, 1, 5)], -1)),
    moved("cat of three in the first dimension", lambda s: s(ops.cat.default, [s.x(1, 4), s.x(3, 4), s.x(2, 4)])),
    moved("cat of four dimensions", lambda s: s(ops.cat.default, [s.x(2, 3, 4, 5), s.x(2, 3, 1, 5)], 2)),
    moved("cat with a weight", lambda s: s(ops.cat.default, [s.w(1, 4), s.x(2, 4)], 0)),
)


# --- Element by element -------------------------------------------------------------------------------------

ONE = "the result is rounded once"
NONE = "no result lies between two bfloat16 numbers"


def rounded(name: str, build: Build) -> Case:
    return Case(name, build, SAME, 1 * ROUNDING, ONE)


def summed(name: str, build: Build) -> Case:
    """Products or elements are summed in float32: the order may be another than torch's."""
    return Case(name, build, ORDER, 1 * ROUNDING, ONE)


ARITHMETIC = (
    rounded("add", lambda s: s(ops.add.Tensor, s.x(4, 33), s.x(4, 33))),
    rounded("add of a batch", lambda s: s(ops.add.Tensor, s.x(2, 5, 32), s.x(2, 5, 32))),
    rounded("add of a row", lambda s: s(ops.add.Tensor, s.x(2, 5, 32), s.x(32))),
    rounded("add of a column", lambda s: s(ops.add.Tensor, s.x(2, 5, 32), s.x(2, 5, 1))),
    rounded("add of a column and a row", lambda s: s(ops.add.Tensor, s.x(6, 1), s.x(1, 17))),
    rounded("add of a mask to heads", lambda s: s(ops.add.Tensor, s.x(2, 3, 4, 8), s.x(2, 1, 1, 8))),
    rounded("add of a number", lambda s: s(ops.add.Tensor, s.x(3, 20), 0.7)),
    rounded("add of a weight", lambda s: s(ops.add.Tensor, s.x(2, 4, 16), s.w(1, 4, 16))),
    rounded("add with alpha of one", lambda s: s(ops.add.Tensor, s.x(8, 8), s.x(8, 8), alpha=1)),
    rounded("sub", lambda s: s(ops.sub.Tensor, s.x(4, 33), s.x(4, 33))),
    rounded("sub of a row of higher rank", lambda s: s(ops.sub.Tensor, s.x(33), s.x(2, 3, 33))),
    rounded("sub of a number", lambda s: s(ops.sub.Tensor, s.x(2, 40), 1.25)),
    rounded("sub from a weight", lambda s: s(ops.sub.Tensor, s.w(6, 16), s.x(6, 16))),
    rounded("rsub from one", lambda s: s(ops.rsub.Scalar, s.x(2, 40), 1)),
    rounded("rsub from a fraction", lambda s: s(ops.rsub.Scalar, s.x(2, 3, 17), 0.3)),
    rounded("mul", lambda s: s(ops.mul.Tensor, s.x(4, 33), s.x(4, 33))),
    rounded("mul by a row of four dimensions", lambda s: s(ops.mul.Tensor, s.x(2, 3, 4, 8), s.x(8))),
    rounded("mul by a number", lambda s: s(ops.mul.Tensor, s.x(3, 20), 0.3)),
    rounded("mul by a weight of one element", lambda s: s(ops.mul.Tensor, s.x(2, 5, 16), s.w(1))),
    Case("mul by a mask", lambda s: s(ops.mul.Tensor, s.x(2, 5, 16), s.input(keep(s, 16))), SAME, SAME, NONE),
    rounded("div", lambda s: s(ops.div.Tensor, s.x(4, 33), s.input(s.uniform(4, 33, low=1, high=4)))),
    rounded("div by a column", lambda s: s(ops.div.Tensor, s.x(2, 5, 32), s.input(s.uniform(2, 5, 1, low=1, high=2)))),
    rounded("div by a number", lambda s: s(ops.div.Tensor, s.x(3, 20), 3.0)),
    Case("div by a power of two", lambda s: s(ops.div.Tensor, s.x(3, 20), 0.5), SAME, SAME, NONE),
    rounded("div of a weight", lambda s: s(ops.div.Tensor, s.w(1, 9), s.input(s.uniform(2, 9, low=1, high=3)))),
    Case("clamp_min at zero", lambda s: s(ops.clamp_min.default, s.x(4, 20), 0), SAME, SAME, NONE),
    Case("clamp_min at a fraction", lambda s: s(ops.clamp_min.default, s.x(2, 12, 1), -0.25), SAME, SAME, NONE),
)


def keep(s: Sketch, *shape: int) -> Tensor:
    """A dropout mask of zeros and ones, both in it."""
    mask = (torch.rand(shape, generator=s.random) < 0.5).float()
    mask.view(-1)[:2] = torch.tensor([0.0, 1.0])
    return mask


ACTIVATIONS = (
    Case("relu", lambda s: s(ops.relu.default, s.x(5, 33)), SAME, SAME, NONE),
    Case("relu of four dimensions", lambda s: s(ops.relu.default, s.x(2, 3, 4, 5)), SAME, SAME, NONE),
    rounded("gelu", lambda s: s(ops.gelu.default, s.x(5, 33, std=0.5))),
    rounded("gelu of a batch", lambda s: s(ops.gelu.default, s.x(2, 7, 16), approximate="none")),
    rounded("silu", lambda s: s(ops.silu.default, s.x(5, 33, std=2))),
    rounded("silu of a batch", lambda s: s(ops.silu.default, s.x(2, 7, 16))),
    rounded("tanh", lambda s: s(ops.tanh.default, s.x(5, 33))),
    rounded("tanh of a batch", lambda s: s(ops.tanh.default, s.x(2, 16, 9, std=0.3))),
    rounded("sigmoid", lambda s: s(ops.sigmoid.default, s.x(5, 33))),
    rounded("sigmoid of a probability to stop", lambda s: s(ops.sigmoid.default, s.x(2, 2, mean=-3))),
    rounded("sqrt", lambda s: s(ops.sqrt.default, s.input(s.uniform(5, 33, low=0, high=9)))),
    rounded("sqrt of a column", lambda s: s(ops.sqrt.default, s.input(s.uniform(3, 1, low=0.1, high=1)))),
)


# --- Tables, linear layers and products ---------------------------------------------------------------------


def indices(s: Sketch, rows: int, *shape: int) -> Value:
    """Indices into a table, its first and last row among them."""
    drawn = torch.randint(rows, shape, generator=s.random)
    drawn.view(-1)[0], drawn.view(-1)[-1] = 0, rows - 1
    return s.input(drawn)


def position(s: Sketch, at: int) -> Value:
    """The decoder's position: one index."""
    return s.input(torch.tensor([at]), "position")


def next_row(s: Sketch) -> Value:
    return s(ops.embedding.default, s.w(20, 8), s(ops.add.Tensor, position(s, 11), 1))


def in_a_sum(s: Sketch) -> Value:
    """A row of the sum of a table and a vector."""
    return s(ops.embedding.default, s(ops.add.Tensor, s.w(20, 64), s.x(1, 64)), position(s, 3))


def first_rows(s: Sketch) -> Value:
    """Cut off within the last tile, as a position that stands there for each row of a tile is looked up."""
    return s(ops.slice.Tensor, s(ops.embedding.default, s.w(20, 64), indices(s, 20, 32)), 0, 0, 1)


def gather(s: Sketch, width: int, *shape: int) -> Value:
    """Elements of rows of ``width``, at indices of ``shape``."""
    index = s.weight(torch.randint(width, shape, generator=s.random))
    return s(ops.gather.default, s.x(*shape[:-1], width), -1, index)


LINEAR = (
    moved("embedding of a batch of tokens", lambda s: s(ops.embedding.default, s.w(11, 16), indices(s, 11, 2, 5))),
    moved("embedding of one text with padding", lambda s: s(ops.embedding.default, s.w(9, 33), indices(s, 9, 1, 7), 1)),
    moved("embedding of a vector", lambda s: s(ops.embedding.default, s.w(20, 8), indices(s, 20, 6))),
    moved("gather of each row", lambda s: gather(s, 7, 2, 3, 5)),
    moved("gather of one row", lambda s: gather(s, 40, 1, 33)),
    moved("embedding of the last position", lambda s: s(ops.embedding.default, s.w(20, 8), position(s, 19))),
    moved("embedding in a table that is an input", lambda s: s(ops.embedding.default, s.x(6, 64), position(s, 4))),
    moved("embedding of the next position", next_row),
    rounded("embedding in a table that is computed", in_a_sum),
    moved("the first rows of those looked up", first_rows),
    summed("linear", lambda s: s(ops.linear.default, s.x(5, 48), s.w(24, 48), s.w(24))),
    summed("linear of one row", lambda s: s(ops.linear.default, s.x(1, 1, 40), s.w(33, 40), s.w(33))),
    summed("linear of a batch", lambda s: s(ops.linear.default, s.x(2, 7, 32), s.w(20, 32), s.w(20))),
    summed("linear of four dimensions", lambda s: s(ops.linear.default, s.x(2, 3, 5, 16), s.w(8, 16))),
    summed("linear without a bias", lambda s: s(ops.linear.default, s.x(3, 64), s.w(2, 64))),
    summed(
        "linear with a bias that outweighs the products",
        lambda s: s(ops.linear.default, s.x(4, 16, std=0.01), s.w(16, 16), s.w(16, mean=8)),
    ),
    summed("bmm", lambda s: s(ops.bmm.default, s.x(6, 5, 32), s.x(6, 32, 7))),
    summed("bmm of one row", lambda s: s(ops.bmm.default, s.x(1, 1, 16), s.x(1, 16, 9))),
    summed("bmm with a weight", lambda s: s(ops.bmm.default, s.x(3, 4, 8), s.w(3, 8, 6))),
    summed("mm", lambda s: s(ops.mm.default, s.x(5, 33), s.x(33, 6))),
    summed("matmul of heads", lambda s: s(ops.matmul.default, s.x(2, 3, 4, 8), s.x(2, 3, 8, 5))),
    summed("matmul with relative positions", lambda s: s(ops.matmul.default, s.x(5, 4, 8), s.w(5, 8, 5))),
    summed("matmul with one matrix", lambda s: s(ops.matmul.default, s.x(2, 5, 8), s.x(8, 3))),
    summed("matmul that repeats a batch row", lambda s: s(ops.matmul.default, s.x(1, 3, 4, 8), s.x(2, 1, 8, 4))),
)


# --- Norms, softmax and sums --------------------------------------------------------------------------------


def layer_norm(s: Sketch, x: Value, eps: float = 1e-5) -> Value:
    width = x.type.shape[-1]
    return s(ops.layer_norm.default, x, (width,), s.w(width, mean=1, std=0.2), s.w(width, std=0.1), eps)


def batch_norm(s: Sketch, x: Value, affine: bool = True, eps: float = 1e-5) -> Value:
    channels = x.type.shape[1]
    weight, bias = (s.w(channels, mean=1, std=0.2), s.w(channels, std=0.3)) if affine else (None, None)
    variance = s.weight(s.uniform(channels, low=0.5, high=1.5))
    return s(ops.batch_norm.default, x, weight, bias, s.w(channels, std=0.3), variance, False, 0.1, eps, True)


def normalize(s: Sketch, x: Value) -> Value:
    """``torch.nn.functional.normalize``, as the decoder's prenet normalizes speakers."""
    norm = s(ops.linalg_vector_norm.default, x, 2.0, [1], True)
    return s(ops.div.Tensor, x, s(ops.clamp_min.default, norm, 1e-12))


ROOT = "the root is rounded, and halves the rounding of the sum; squares are rounded too, and average out"
QUOTIENT = f"{ROOT}; then the quotient is rounded"


def norm(name: str, build: Build) -> Case:
    return Case(f"vector norm {name}", build, ORDER, 1.5 * ROUNDING, ROOT)


NORMS = (
    summed("layer_norm", lambda s: layer_norm(s, s.x(5, 48))),
    summed("layer_norm of a batch", lambda s: layer_norm(s, s.x(2, 7, 33))),
    summed("layer_norm of one row off zero", lambda s: layer_norm(s, s.x(1, 1, 64, mean=3))),
    summed("layer_norm with a large epsilon", lambda s: layer_norm(s, s.x(4, 32, std=0.1), 0.1)),
    summed("batch_norm over time", lambda s: batch_norm(s, s.x(1, 8, 20))),
    summed("batch_norm of a batch", lambda s: batch_norm(s, s.x(3, 5, 9))),
    summed("batch_norm of two dimensions", lambda s: batch_norm(s, s.x(6, 5))),
    summed("batch_norm of images", lambda s: batch_norm(s, s.x(2, 3, 4, 5))),
    summed("batch_norm with a large epsilon", lambda s: batch_norm(s, s.x(1, 6, 8), eps=0.5)),
    summed("softmax of the last dimension", lambda s: s(ops.softmax.int, s.x(4, 9, 33), -1)),
    summed("softmax of heads", lambda s: s(ops.softmax.int, s.x(2, 3, 4, 8), 3)),
    summed("softmax of a middle dimension", lambda s: s(ops.softmax.int, s.x(2, 9, 4), 1)),
    summed("softmax of large scores", lambda s: s(ops.softmax.int, s.x(8, 20, mean=300, std=4), -1)),
    summed("softmax of the core ATen set", lambda s: s(ops._softmax.default, s.x(5, 20), 1, False)),
    norm("that keeps its dimension", lambda s: s(ops.linalg_vector_norm.default, s.x(3, 40), 2, [1], True)),
    norm("that drops its dimension", lambda s: s(ops.linalg_vector_norm.default, s.x(2, 4, 24), 2, [-1])),
    norm("of columns", lambda s: s(ops.linalg_vector_norm.default, s.x(9, 5), 2, [0])),
    Case("normalized speaker", lambda s: normalize(s, s.x(1, 36)), ORDER, 2.5 * ROUNDING, QUOTIENT),
    Case("normalized speakers", lambda s: normalize(s, s.x(3, 24)), ORDER, 2.5 * ROUNDING, QUOTIENT),
)


# --- Convolutions -------------------------------------------------------------------------------------------


def conv1d(
    s: Sketch, batch: int, channels: int, length: int, out: int, taps: int, *, bias: bool = True, **step: Any
) -> Value:
    weight = s.w(out, channels // step.get("groups", 1), taps)
    return s(ops.conv1d.default, s.x(batch, channels, length), weight, s.w(out) if bias else None, **step)


def convolved(name: str, *sizes: int, **step: Any) -> Case:
    """``sizes`` are batch, channels, length, channels out and taps."""
    return summed(f"conv1d {name}", lambda s: conv1d(s, *sizes, **step))


CONVOLUTIONS = (
    convolved("of the post-net", 1, 16, 20, 12, 5, padding=[2]),
    convolved("of a batch", 3, 8, 11, 6, 3, padding=[1]),
    convolved("of one tap", 2, 8, 9, 5, 1),
    convolved("without padding", 1, 4, 12, 7, 4),
    convolved("without a bias", 2, 6, 10, 6, 5, padding=[2], bias=False),
    convolved("with a stride", 1, 8, 21, 4, 4, stride=[2], padding=[1]),
    convolved("of a batch with a stride that leaves a rest", 2, 4, 12, 4, 5, stride=[3]),
    convolved("with a dilation", 1, 8, 24, 6, 3, padding=[5], dilation=[5]),
    convolved("of two groups", 2, 8, 9, 6, 3, padding=[1], groups=2),
    convolved("of each channel by itself", 1, 6, 15, 6, 3, padding=[1], groups=6),
    convolved("with all of them", 2, 8, 30, 12, 3, stride=[2], padding=[3], dilation=[2], groups=4),
    convolved("as long as its input", 1, 4, 5, 3, 5),
    Case(
        "conv1d and tanh",
        lambda s: s(ops.tanh.default, conv1d(s, 2, 8, 32, 12, 5, padding=[2])),
        ORDER,
        ROUNDING,
        "rounded once, after the activation",
        (FuseActivation(),),
    ),
    Case(
        "conv1d in shards",
        lambda s: conv1d(s, 2, 8, 32, 12, 5, padding=[2]),
        ORDER,
        ROUNDING,
        ONE,
        (ShardConvolutions(CORES, L1_BYTES),),
    ),
)


# --- Attention ----------------------------------------------------------------------------------------------

FUSED = (
    "the exponentials' sum, the weighted sum and the result are rounded in turn, which seldom adds up to three; "
    "scores and exponentials are rounded too, and average out over the keys"
)
SINGLE = "probabilities and their weighted sum are rounded; scores too, and average out over the keys"
ALONE = "one key is seen, with a weight of one"


def attention(s: Sketch, batch: int, heads: int, queries: int, keys: int, head: int, **given: Any) -> Value:
    """Queries of the size that gives scores of a few units, as trained models have them."""
    scale = given.get("scale", head**-0.5)
    query = s.x(batch, heads, queries, head, std=head**-0.5 / scale)
    key, value = s.x(batch, heads, keys, head), s.x(batch, heads, keys, head)
    return s(ops.scaled_dot_product_attention.default, query, key, value, **given)


def attended(name: str, build: Build, passes: tuple[Pass, ...] = ()) -> Case:
    return Case(f"attention {name}", build, ORDER, 2.5 * ROUNDING, FUSED, passes)


def padding(s: Sketch, lengths: tuple[int, ...], keys: int) -> Value:
    """The additive mask of a batch of texts, computed from ones and zeros as the model does it: [batch, 1, 1, keys]."""
    kept = torch.tensor([[float(key < length) for key in range(keys)] for length in lengths])
    away = s(ops.mul.Tensor, s(ops.rsub.Scalar, s.input(kept), 1), LOWEST)
    return s(ops.view.default, away, (len(lengths), 1, 1, keys))


def padded(s: Sketch, lengths: tuple[int, ...], heads: int, queries: int, keys: int) -> Value:
    """Attention over padded texts; in a text of length zero every key is padding."""
    mask = s(ops.expand.default, padding(s, lengths, keys), (len(lengths), 1, queries, keys))
    return attention(s, len(lengths), heads, queries, keys, 32, attn_mask=mask)


def hidden(s: Sketch, shape: tuple[int, ...], low: float) -> Value:
    """An additive mask that hides about half of the keys, never the first."""
    mask = torch.where(torch.rand(shape, generator=s.random) < 0.5, 0.0, low)
    mask[..., 0] = 0.0
    return s.input(mask)


def all_hidden(low: float) -> Tensor:
    """The mask of four queries and eight keys by which the second query sees nothing."""
    mask = torch.zeros(1, 1, 4, 8)
    mask[0, 0, 1] = low
    mask[0, 0, 2, 5:] = low
    return mask


def biased(s: Sketch) -> Value:
    """Relative positions, added to the padding mask: the encoder's attention."""
    mask = s(ops.add.Tensor, s.x(2, 2, 6, 6), padding(s, (6, 3), 6))
    return attention(s, 2, 2, 6, 6, 32, attn_mask=mask, scale=1.0)


def unfused_padding(s: Sketch) -> Value:
    """Scores plus mask, softmax, weighted sum: attention as it stays for heads that the fused op does not take."""
    scores = s(ops.add.Tensor, s.x(2, 1, 4, 6), padding(s, (4, 0), 6))
    return s(ops.matmul.default, s(ops.softmax.int, scores, -1), s.x(2, 1, 6, 8))


def masked_positions(s: Sketch) -> Value:
    """Scores of relative positions, the keys of a shorter text hidden."""
    rows = [("self", Parameter("rows"))]
    s.weights["rows"] = s.normal(8, 16)
    padded = Computed(Aten(ops.constant_pad_nd.default), tuple(rows), (("pad", (0, 0, 1, 0)),))
    product = s(ops.linear.default, s.x(6, 4, 16), s.builder.constant(padded, TensorType((9, 16), DType.FLOAT32)))
    index = torch.arange(5)[None, :] - torch.arange(4)[:, None] + 4
    places = s.builder.constant(Literal(index.expand(6, 4, 5)), TensorType((6, 4, 5), DType.INT64))
    scores = s(ops.view.default, s(ops.gather.default, product, 2, places), (2, 3, 4, 5))
    keep = s.input(torch.tensor([[1.0, 1, 1, 1, 1], [1, 1, 0, 0, 0]]))
    hidden = s(ops.mul.Tensor, s(ops.rsub.Scalar, keep, 1), LOWEST)
    masked = s(ops.add.Tensor, scores, s(ops.view.default, hidden, (2, 1, 1, 5)))
    return s(ops.softmax.int, masked, -1)


ATTENTION = (
    attended("of one head", lambda s: attention(s, 1, 1, 4, 4, 32)),
    attended("of a batch", lambda s: attention(s, 2, 3, 5, 5, 32)),
    attended("with heads of 64", lambda s: attention(s, 1, 2, 6, 6, 64)),
    attended("with heads of 96", lambda s: attention(s, 2, 2, 3, 9, 96)),
    attended("of one query", lambda s: attention(s, 1, 4, 1, 20, 32)),
    attended("across lengths", lambda s: attention(s, 2, 2, 3, 40, 32)),
    attended("scaled before", lambda s: attention(s, 1, 2, 5, 7, 32, scale=1.0)),
    attended("scaled by a number", lambda s: attention(s, 1, 2, 5, 7, 32, scale=0.3)),
    attended(
        "with a mask for all heads",
        lambda s: attention(s, 2, 3, 5, 8, 32, attn_mask=hidden(s, (2, 1, 5, 8), LOWEST_BFLOAT16)),
    ),
    attended(
        "with a mask for all rows", lambda s: attention(s, 2, 3, 5, 8, 32, attn_mask=hidden(s, (1, 3, 5, 8), -1e9))
    ),
    attended(
        "with a mask of infinities",
        lambda s: attention(s, 1, 2, 5, 8, 32, attn_mask=hidden(s, (1, 1, 5, 8), -torch.inf)),
    ),
    attended("with a bias", lambda s: attention(s, 1, 2, 5, 5, 32, attn_mask=s.x(1, 2, 5, 5))),
    attended("with a bias and padding", biased),
    attended("of padded texts", lambda s: padded(s, (8, 3, 1), 2, 8, 8)),
    attended("of a text that is all padding", lambda s: padded(s, (5, 0), 2, 5, 5)),
    attended("of one query of a text that is all padding", lambda s: padded(s, (0,), 2, 1, 6)),
    attended(
        "with a query that sees nothing",
        lambda s: attention(s, 1, 2, 4, 8, 32, attn_mask=s.input(all_hidden(LOWEST_BFLOAT16))),
    ),
    attended(
        "with a mask of small numbers", lambda s: attention(s, 1, 2, 4, 8, 32, attn_mask=hidden(s, (1, 1, 4, 8), -1e4))
    ),
    Case("attention in single ops over padding", unfused_padding, ORDER, 2 * ROUNDING, SINGLE),
    Case(
        "relative positions under a mask",
        masked_positions,
        ORDER,
        2 * ROUNDING,
        "scores are rounded, then probabilities",
        (MaskByIndex(),),
    ),
    Case(
        "relative positions under a mask of the host's",
        masked_positions,
        ORDER,
        2 * ROUNDING,
        "scores are rounded, then probabilities",
        (MaskByIndex(), MakeOnHost(("input1",), 2**20)),
    ),
    rounded(
        "softmax of a row that is all padding",
        lambda s: s(ops.softmax.int, s.input(torch.full((2, 1, 3, 7), LOWEST_BFLOAT16)), -1),
    ),
)


# --- Caches -------------------------------------------------------------------------------------------------


def cached(
    s: Sketch,
    batch: int,
    steps: int,
    at: int,
    layers: int = 1,
    heads: int = 2,
    head: int = 32,
    index: Value | None = None,
) -> dict[str, Value]:
    """One step's keys and values written into each layer's caches, outputs under the inputs' names."""
    index = position(s, at) if index is None else index
    caches = {}
    for layer in range(layers):
        for kind in ("key", "value"):
            name = f"{layer}.{kind}"
            cache = s.input(s.normal(batch, heads, steps, head), name)
            caches[name] = (cache, s.x(batch, heads, 1, head))
    return {name: s(ops.index_copy.default, cache, 2, index, row) for name, (cache, row) in caches.items()}


def decoded(s: Sketch, batch: int, steps: int, at: int) -> Results:
    """A step of self-attention: caches written, then read up to the position."""
    query = s.x(batch, 2, 1, 32, std=32**-0.5)
    written = cached(s, batch, steps, at)
    mask = torch.zeros(1, 1, 1, steps)
    mask[..., at + 1 :] = LOWEST_BFLOAT16
    operands = (query, written["0.key"], written["0.value"], s.input(mask, "mask"))
    return {**written, "attended": s(ops.scaled_dot_product_attention.default, *operands, scale=1.0)}


def dealt_out(s: Sketch, batch: int, steps: int, at: int) -> Results:
    """The same with the mask looked up by the position, and heads side by side, as several cores take it."""
    table = torch.full((steps, steps), LOWEST_BFLOAT16).triu(1)
    at_all = s.input(torch.full((TILE,), at), "positions")
    rows = s(ops.embedding.default, s.builder.constant(Literal(table), TensorType.of(table)), at_all)
    mask = s(ops.view.default, s(ops.slice.Tensor, rows, 0, 0, 1), (1, 1, 1, steps))
    query = s.x(batch, 2, 1, 32, std=32**-0.5)
    written = cached(s, batch, steps, at, index=s(ops.slice.Tensor, at_all, 0, 0, 1))
    operands = (query, written["0.key"], written["0.value"], mask)
    turned = s(ops.permute.default, s(ops.scaled_dot_product_attention.default, *operands, scale=1.0), (0, 2, 1, 3))
    return {**written, "attended": s(ops.view.default, turned, (batch, 1, 64))}


def at_the_first(s: Sketch, *indices: int) -> dict[str, Value]:
    """Caches written at the first of several indices."""
    return cached(s, 1, 32, 0, index=s(ops.slice.Tensor, s.input(torch.tensor(indices), "position"), 0, 0, 1))


DEALT = (ConcatHeads(), FlashDecode(64))
CACHES = (
    moved("cache at the first of several positions", lambda s: at_the_first(s, 5, 9, 2)),
    moved("cache at the first step", lambda s: cached(s, 1, 32, 0)),
    moved("cache at the second step", lambda s: cached(s, 1, 32, 1)),
    moved("cache in the middle", lambda s: cached(s, 1, 64, 33)),
    moved("cache in its last row", lambda s: cached(s, 1, 32, 31)),
    moved("cache with heads of 64", lambda s: cached(s, 1, 32, 9, head=64)),
    moved("cache of a batch", lambda s: cached(s, 3, 32, 5)),
    moved("cache of a batch in its last row", lambda s: cached(s, 2, 64, 63)),
    moved("caches of two layers", lambda s: cached(s, 1, 32, 4, layers=2)),
    moved("caches of three layers of a batch", lambda s: cached(s, 2, 32, 2, layers=3)),
    Case("attention over a cache at the first step", lambda s: decoded(s, 1, 32, 0), SAME, SAME, ALONE),
    attended("over a cache in the middle", lambda s: decoded(s, 1, 64, 17)),
    attended("over a full cache of a batch", lambda s: decoded(s, 2, 32, 31)),
    attended("over a cache by several cores", lambda s: dealt_out(s, 1, 64, 40), DEALT),
    attended("over a full cache by several cores", lambda s: dealt_out(s, 1, 128, 127), DEALT),
    attended("over a cache of a batch by several cores", lambda s: dealt_out(s, 3, 256, 100), DEALT),
)


# --- Heads --------------------------------------------------------------------------------------------------


EVERY_BANK = math.lcm(*(int(board.banks.value) for board in BOARDS.values()))


def heads(s: Sketch, x: Value, count: int = 2, head: int = 32, bias: bool = True) -> Value:
    """A linear layer split into heads."""
    batch, rows, inner = x.type.shape
    made = s(ops.linear.default, x, s.w(count * head, inner), s.w(count * head) if bias else None)
    return s(ops.permute.default, s(ops.view.default, made, (batch, rows, count, head)), (0, 2, 1, 3))


def three_heads(s: Sketch) -> Results:
    """Queries, keys and values of one input."""
    x = s.x(2, 5, 16)
    return {name: heads(s, x) for name in ("query", "key", "value")}


def two_layers(s: Sketch) -> dict[str, Value]:
    """Keys and values that two layers make of one input, twelve banks being filled up."""
    x = s.x(1, 33, 16)
    return {name: heads(s, x, 4, bias=False) for name in ("key", "value", "other key", "other value")}


def scored(s: Sketch) -> Results:
    """Keys and values, and how much the bias of each layer's query makes of its keys."""
    made = two_layers(s)
    mask = s.x(1, 1, 1, 33)
    for name in ("key", "other key"):
        scores = s(ops.matmul.default, s.w(1, 4, 1, 32, std=32**-0.5), s(ops.permute.default, made[name], (0, 1, 3, 2)))
        made[f"{name} scores"] = s(ops.add.Tensor, scores, mask)
    return made


def heads_of_a_row(s: Sketch) -> Results:
    """As many as make the tiles of each part a multiple of every board's banks of DRAM."""
    x = s.x(1, 1, 16)
    return {name: heads(s, x, EVERY_BANK // 2, 64) for name in ("query", "key", "value")}


def columns(s: Sketch, batch: int, queries: int) -> Value:
    """Attention whose heads are laid side by side."""
    made = attention(s, batch, 3, queries, 7, 32)
    return s(ops.view.default, s(ops.permute.default, made, (0, 2, 1, 3)), (batch, queries, 96))


HEADS = (
    Case("heads of queries, keys and values", three_heads, ORDER, 1 * ROUNDING, ONE, (SplitHeads(),)),
    Case("heads of a row", heads_of_a_row, ORDER, 1 * ROUNDING, ONE, (SplitHeads(), HeadsAsViews(EVERY_BANK))),
    Case("heads of queries alone", lambda s: heads(s, s.x(1, 1, 16), 4), ORDER, 1 * ROUNDING, ONE, (SplitHeads(),)),
    Case("heads of two layers", two_layers, ORDER, 1 * ROUNDING, ONE, (StackHeads(12, 2**20),)),
    Case(
        "scores of two layers",
        scored,
        ORDER,
        2 * ROUNDING,
        "keys are rounded, then scores",
        (StackHeads(12, 2**20), WidenParts(12)),
    ),
    Case("a product a head", lambda s: heads(s, s.x(1, 3, 16), bias=False), ORDER, 1 * ROUNDING, ONE, (SplitHeads(),)),
    replace(attended("with heads side by side", lambda s: columns(s, 2, 5)), passes=(ConcatHeads(),)),
    replace(attended("of one query with heads side by side", lambda s: columns(s, 1, 1)), passes=(ConcatHeads(),)),
)


# --- Shards by width ----------------------------------------------------------------------------------------

GRID = Grid(8, 7)
"""An n300's, which is the smallest."""
ONE_ROW = (FuseActivation(), FuseResidual(), ConcatHeads(), ShardNorms(GRID))
BANKS = ShardWeights(GRID, Pace(12, 1.0, ((1, 2.0),), flops=1e15, gap=0.0))
"""As if all weights were read faster from the twelve banks of an n150 or n300, at any number of conversions."""


def block(s: Sketch, width: int = 96) -> Value:
    """Attention, its projection, the residual and its norm, of one row; the norm's own reader is a linear."""
    x = s.x(1, 1, width)
    columned = columns(s, 1, 1)
    projected = s(ops.linear.default, columned, s.w(width, 96, std=0.1), s.w(width, std=0.1))
    normed = layer_norm(s, s(ops.add.Tensor, x, projected))
    return s(ops.gelu.default, s(ops.linear.default, normed, s.w(2 * width, width, std=width**-0.5), s.w(2 * width)))


SHARDS = (
    Case("a block of one row in shards", block, ORDER, 2 * ROUNDING, FUSED, ONE_ROW),
    Case("a block with its weights in shards", block, ORDER, 3 * ROUNDING, FUSED, (*ONE_ROW, BANKS)),
    Case(
        "a linear with its weights in shards",
        lambda s: s(ops.linear.default, s.x(1, 1, 96), s.w(160, 96), s.w(160)),
        ORDER,
        ROUNDING,
        ONE,
        (BANKS,),
    ),
)


# --- Several ops --------------------------------------------------------------------------------------------


def feed_forward(s: Sketch) -> Value:
    """Two linear layers, the residual around them and its norm."""
    x = s.x(2, 5, 32)
    inner = s(ops.gelu.default, s(ops.linear.default, x, s.w(64, 32, std=32**-0.5), s.w(64, std=0.1)))
    return layer_norm(s, s(ops.add.Tensor, x, s(ops.linear.default, inner, s.w(32, 64, std=0.1), s.w(32, std=0.1))))


def passed_on(s: Sketch) -> Results:
    """Outputs that are an input, a weight, and one value twice."""
    x, w = s.x(2, 3), s.w(4)
    y = s(ops.relu.default, x)
    return {"input": x, "weight": w, "once": y, "again": y}


def residual(s: Sketch) -> Value:
    """The norm of a sum."""
    return layer_norm(s, s(ops.add.Tensor, s.x(2, 5, 32), s.x(2, 5, 32)))


def active_sum(s: Sketch) -> Value:
    """The end of the prenet."""
    return s(ops.relu.default, s(ops.add.Tensor, s.x(2, 1, 32), s.x(32)))


def shifted(s: Sketch) -> Value:
    """A linear and the row of a table at a position."""
    row = s(ops.embedding.default, s.w(9, 24), position(s, 4))
    return s(ops.add.Tensor, s(ops.linear.default, s.x(2, 1, 48), s.w(24, 48)), row)


BLOCKS = (
    Case("relu of a sum", active_sum, SAME, 1 * ROUNDING, ONE, (FuseActivation(),)),
    Case("linear with a computed bias", shifted, ORDER, 1 * ROUNDING, ONE, (FuseBias(),)),
    Case("layer norm of a residual", residual, SAME, 1 * ROUNDING, "the sum is not rounded", (FuseResidual(),)),
    Case("feed-forward layers", feed_forward, ORDER, 2 * ROUNDING, "the residual's sum and the norm are rounded last"),
    moved("inputs and weights as outputs", passed_on),
)


CASES: tuple[Case, ...] = (
    *SHAPE,
    *ARITHMETIC,
    *ACTIVATIONS,
    *LINEAR,
    *NORMS,
    *CONVOLUTIONS,
    *ATTENTION,
    *CACHES,
    *HEADS,
    *SHARDS,
    *BLOCKS,
)
