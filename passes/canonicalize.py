"""One form for each meaning, and none for what means nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from compiler.dialects.aten import emit, is_op, ops
from compiler.ir.builder import Builder, rebuild
from compiler.ir.constants import Literal
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.types import TensorType
from passes.base import CANONICAL, IDLE, RESHAPES, Property

_VIEWS = (ops.view.default, *RESHAPES)
_BROADCASTING = (ops.add.Tensor, ops.sub.Tensor, ops.mul.Tensor, ops.div.Tensor)


@dataclass(frozen=True, slots=True)
class Canonicalize:
    """Remove what does nothing and write each change of shape in one way.

    ::

        dropout(x)  clone(x)  x * 1  x[:, :]        ->  x                   (1)
        unsqueeze  squeeze  reshape  flatten        ->  view(x, [sizes])    (2)
        view(view(x))                               ->  view(x)             (3)
        transpose  t                                ->  permute(x, [dims])  (4)
        permute(permute(x))                         ->  permute(x)          (5)
        expand_as                                   ->  expand(x, [sizes])  (6)
        a + expand(b)                               ->  a + b               (7)
        select(x, d, i)  unbind(x)[i]               ->  view(slice(x))      (8)
        layer_norm(x)                               ->  layer_norm(x, weight=1, bias=0)  (9)

    All sizes are written out. (1) takes dropout only in evaluation: in training the importer refuses it. (7) needs
    the result's shape to stay.
    """

    name: ClassVar[str] = "canonicalize"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = (CANONICAL,)

    def run(self, graph: Graph) -> Graph:
        producers: dict[Value, Node] = {}

        def change(builder: Builder, node: Node) -> tuple[Value, ...] | None:
            first = len(builder.nodes)
            results = _simplify(builder, node, producers)
            made = [*builder.nodes[first:], *([node] if results is None else [])]
            producers.update((result, n) for n in made for result in n.results)
            return results

        return rebuild(graph, change)


def _simplify(builder: Builder, node: Node, producers: dict[Value, Node]) -> tuple[Value, ...] | None:
    if is_op(node, *IDLE) or _is_identity(node):
        return (node.operands[0],)
    for overloads, rule in _RULES:
        if is_op(node, *overloads):
            return rule(builder, node, producers)
    return None


def _is_identity(node: Node) -> bool:
    """(1), but for the ops that are always idle."""
    if not node.operands or len(node.results) != 1 or node.result.type != node.operands[0].type:
        return False
    if is_op(node, ops.mul.Tensor, ops.div.Tensor):
        return node.attribute("other") == 1
    if is_op(node, ops.add.Tensor, ops.sub.Tensor):
        return node.attribute("other") == 0
    return is_op(node, ops.slice.Tensor, ops.expand.default, ops.to.dtype, ops.to.device, ops.to.dtype_layout, *_VIEWS)


def _view(builder: Builder, node: Node, producers: dict[Value, Node]) -> tuple[Value, ...] | None:
    """(2), (3)."""
    shape = node.result.type.shape
    viewed = is_op(producers.get(node.operands[0]), ops.view.default)
    if is_op(node, ops.view.default) and node.attribute("size") == shape and not viewed:
        return None
    return (_viewed(builder, node, node.operands[0], shape, producers),)


def _viewed(builder: Builder, node: Node, source: Value, shape: tuple[int, ...], producers: dict[Value, Node]) -> Value:
    """``source`` in another shape: through a view that it is, and itself where it has the shape."""
    before = producers.get(source)
    if before is not None and is_op(before, ops.view.default):
        source = before["self"]
    if source.type.shape == shape:
        return source
    return emit(builder, ops.view.default, source, shape, origins=node.origins)


def _permute(builder: Builder, node: Node, producers: dict[Value, Node]) -> tuple[Value, ...] | None:
    """(4), (5)."""
    source = node.operands[0]
    dims = _dims(node)
    before = producers.get(source)
    if before is not None and is_op(before, ops.permute.default):
        source, inner = before["self"], _dims(before)
        dims = tuple(inner[d] for d in dims)
    if dims == tuple(range(len(dims))):
        return (source,)
    if source is node.operands[0] and is_op(node, ops.permute.default) and node.attribute("dims") == dims:
        return None
    return (emit(builder, ops.permute.default, source, dims, origins=node.origins),)


def _dims(node: Node) -> tuple[int, ...]:
    """The order of dimensions that a permute, transpose or t gives, none of them negative."""
    rank = len(node.operands[0].type.shape)
    if is_op(node, ops.permute.default):
        dims = node.attribute("dims")
        assert isinstance(dims, tuple)
        return tuple(int(d) % rank for d in dims)  # type: ignore[arg-type]
    order = list(range(rank))
    if is_op(node, ops.t.default) and rank < 2:
        return tuple(order)
    a, b = (-2, -1) if is_op(node, ops.t.default) else (node.attribute("dim0"), node.attribute("dim1"))
    assert isinstance(a, int) and isinstance(b, int)
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def _expand(builder: Builder, node: Node, producers: dict[Value, Node]) -> tuple[Value, ...] | None:
    """(6)."""
    shape, source = node.result.type.shape, _unexpanded(node.operands[0], producers)
    if source.type.shape == shape:
        return (source,)
    if source is node.operands[0] and is_op(node, ops.expand.default) and node.attribute("size") == shape:
        return None
    return (emit(builder, ops.expand.default, source, shape, origins=node.origins),)


def _broadcast(builder: Builder, node: Node, producers: dict[Value, Node]) -> tuple[Value, ...] | None:
    """(7)."""
    operands = tuple(_unexpanded(value, producers) for value in node.operands)
    if operands == node.operands or _broadcast_shape([v.type.shape for v in operands]) != node.result.type.shape:
        return None
    return builder.emit_like(node, zip(node.names, operands, strict=True), [node.result.type], node.origins)


def _unexpanded(value: Value, producers: dict[Value, Node]) -> Value:
    """What a value is an expansion of; itself where it is none."""
    while (before := producers.get(value)) is not None and is_op(before, ops.expand.default):
        value = before["self"]
    return value


def _broadcast_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    return tuple(max(sizes) for sizes in zip(*padded, strict=True))


def _select(builder: Builder, node: Node, producers: dict[Value, Node]) -> tuple[Value, ...]:
    """(8)."""
    source = node["self"]
    dim = node.attribute("dim", 0)
    assert isinstance(dim, int)
    dim %= len(source.type.shape)
    index = node.attribute("index")
    size = source.type.shape[dim]
    wanted = [int(index) % size] if isinstance(index, int) else range(size)
    out = []
    for at in wanted:
        row = source
        if size > 1:
            row = emit(builder, ops.slice.Tensor, source, dim, at, at + 1, origins=node.origins)
        out.append(_viewed(builder, node, row, node.results[0].type.shape, producers))
    return tuple(out)


def _layer_norm(builder: Builder, node: Node, _: dict[Value, Node]) -> tuple[Value, ...] | None:
    """(9)."""
    shape = node.attribute("normalized_shape")
    if not isinstance(shape, tuple) or {"weight", "bias"} <= {*node.names}:
        return None
    sizes = tuple(size for size in shape if isinstance(size, int))
    type = TensorType(sizes, node["input"].type.dtype)
    made = [
        node.operand(name)
        or builder.constant(Literal(torch.full(type.shape, value, dtype=type.dtype.on_host, device="cpu")), type)
        for name, value in (("weight", 1.0), ("bias", 0.0))
    ]
    eps = node.attribute("eps", 1e-5)
    return (emit(builder, ops.layer_norm.default, node["input"], shape, *made, eps, origins=node.origins),)


_Rule = Callable[[Builder, Node, dict[Value, Node]], tuple[Value, ...] | None]
_RULES: tuple[tuple[tuple[object, ...], _Rule], ...] = (
    (_VIEWS, _view),
    ((ops.permute.default, ops.transpose.int, ops.t.default), _permute),
    ((ops.expand.default, ops.expand_as.default), _expand),
    (_BROADCASTING, _broadcast),
    ((ops.select.int, ops.unbind.int), _select),
    ((ops.layer_norm.default,), _layer_norm),
)
