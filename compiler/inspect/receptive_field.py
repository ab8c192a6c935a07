"""Which positions of an input an output reads: how far a graph looks back and ahead, from its ops alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from compiler.dialects.aten import Aten, is_op, ops
from compiler.errors import InvalidArgument
from compiler.ir.graph import Graph, Node, Value

Index = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What each position of an output reads of an input, sequences being taken as endless.

    Positions repeat: ``period`` of them read what the ``period`` before them read, ``rate`` positions of the input
    later. ``first`` and ``last`` have, for the positions from 0 to ``period - 1``, the first and the last position of
    the input that they read; negative ones are before its beginning.
    """

    period: int
    rate: int
    first: tuple[int, ...]
    last: tuple[int, ...]

    def of(self, position: int) -> tuple[int, int]:
        """The first and the last position of the input that a position of the output reads."""
        times, at = divmod(position, self.period)
        return self.first[at] + times * self.rate, self.last[at] + times * self.rate

    @property
    def before(self) -> int:
        """How many positions of the input before its own an output reads at most."""
        return max(at * self.rate // self.period - first for at, first in enumerate(self.first))

    @property
    def after(self) -> int:
        """How many positions of the input behind its own an output reads at most."""
        return max(last - at * self.rate // self.period for at, last in enumerate(self.last))


_ITSELF = ReceptiveField(1, 1, (0,), (0,))
_ELEMENTWISE = frozenset(
    (
        ops.add.Tensor,
        ops.sub.Tensor,
        ops.mul.Tensor,
        ops.div.Tensor,
        ops.leaky_relu.default,
        ops.relu.default,
        ops.tanh.default,
        ops.sigmoid.default,
        ops.dropout.default,
        ops.clone.default,
        ops.batch_norm.default,
    )
)
_VIEWS = (
    ops.view.default,
    ops.reshape.default,
    ops._unsafe_view.default,
    ops.unsqueeze.default,
    ops.squeeze.dim,
    ops.squeeze.dims,
    ops.squeeze.default,
)
_Along = tuple[int, ReceptiveField]
"""Along which dimension a value depends on the input, and how."""


def receptive_field(graph: Graph, output: str, input: str, dim: int = 1) -> ReceptiveField:
    """Derive what the output called ``output`` reads of the input called ``input`` along its dimension ``dim``.

    ``graph`` is an ATen graph: of convolutions over time, transposed ones, what works element by element, and changes
    of shape that keep the dimension, or cut or join its elements. A tap is taken to be read whatever its weight.

    Raises ``InvalidArgument`` for names that the graph does not have, for an op of another kind between the two, and
    where the output does not depend on the input.
    """
    inputs, outputs = ({port.name: port.value for port in ports} for ports in (graph.inputs, graph.outputs))
    for name, known, kind in ((input, inputs, "input"), (output, outputs, "output")):
        if name not in known:
            raise InvalidArgument(f"{graph.name} has no {kind} {name!r}: it has {', '.join(known)}")
    found: dict[Value, _Along] = {inputs[input]: (dim % len(inputs[input].type.shape), _ITSELF)}
    for node in graph.nodes:
        along = [(value, *found[value]) for value in node.operands if value in found]
        if along:
            found[node.result] = _through(node, along)
    if outputs[output] not in found:
        raise InvalidArgument(f"{graph.name}: {output!r} does not read {input!r}")
    return found[outputs[output]][1]


def _through(node: Node, along: list[tuple[Value, int, ReceptiveField]]) -> _Along:
    value, dim, field = along[0]
    rank = len(value.type.shape)
    if isinstance(node.op, Aten) and node.op.overload in _ELEMENTWISE:
        return _union(node, [(d - len(v.type.shape), f) for v, d, f in along])
    if is_op(node, ops.conv1d.default, ops.conv_transpose1d.default) and len(along) == 1 and dim == rank - 1:
        return rank - 1, _convolved(node, field)
    if is_op(node, ops.transpose.int):
        swapped = {_number(node, name) % rank for name in ("dim0", "dim1")}
        return (next(iter(swapped - {dim}), dim) if dim in swapped else dim), field
    if is_op(node, ops.permute.default):
        dims = node.attribute("dims")
        assert isinstance(dims, tuple)
        return [d % rank for d in dims if isinstance(d, int)].index(dim), field
    if is_op(node, ops.slice.Tensor) and _number(node, "dim") % rank != dim:
        return dim, field
    if is_op(node, *_VIEWS):
        viewed = _viewed(value.type.shape, node.result.type.shape, dim, field)
        if viewed is not None:
            return viewed
    raise InvalidArgument(
        f"{node.op.name} at {', '.join(map(str, node.origins))}: it is not known which positions it reads"
    )


def _union(node: Node, fields: list[tuple[int, ReceptiveField]]) -> _Along:
    """What any of several reads; dimensions are counted from the last."""
    dims = {dim for dim, _ in fields}
    period = math.lcm(*(field.period for _, field in fields))
    rates = {field.rate * (period // field.period) for _, field in fields}
    if len(dims) > 1 or len(rates) > 1:
        raise InvalidArgument(f"{node.op.name} at {', '.join(map(str, node.origins))}: its operands keep another pace")
    both = [[field.of(at) for _, field in fields] for at in range(period)]
    firsts, lasts = (tuple(pick(one[i] for one in at) for at in both) for i, pick in ((0, min), (1, max)))
    return len(node.result.type.shape) + dims.pop(), ReceptiveField(period, rates.pop(), firsts, lasts)


def _convolved(node: Node, field: ReceptiveField) -> ReceptiveField:
    stride, padding, dilation = (_number(node, n, d) for n, d in (("stride", 1), ("padding", 0), ("dilation", 1)))
    reach = (node["weight"].type.shape[-1] - 1) * dilation
    if is_op(node, ops.conv1d.default):
        return _reindexed(field, lambda t: t * stride - padding, lambda t: t * stride - padding + reach, 1, stride)
    # Tap k of position i is added to position i * stride - padding + k * dilation.
    return _reindexed(field, lambda t: -((reach - padding - t) // stride), lambda t: (t + padding) // stride, stride, 1)


def _viewed(before: tuple[int, ...], after: tuple[int, ...], dim: int, field: ReceptiveField) -> _Along | None:
    """A dimension under another shape: as it is, its elements cut into several, or several joined to one."""
    outer, size = math.prod(before[:dim]), before[dim]
    for at, made in enumerate(after):
        if math.prod(after[:at]) != outer or (made == 1 != size):
            continue
        if made == size:
            return at, field
        if made > size and made % size == 0:
            return at, _cut(field, made // size)
        if made < size and size % made == 0:
            return at, _joined(field, size // made)
    return None


def _cut(field: ReceptiveField, times: int) -> ReceptiveField:
    """Each element cut into several."""
    return _reindexed(field, lambda t: t // times, lambda t: t // times, times, 1)


def _joined(field: ReceptiveField, times: int) -> ReceptiveField:
    """Several elements joined to one."""
    return _reindexed(field, lambda t: t * times, lambda t: t * times + times - 1, 1, times)


def _reindexed(field: ReceptiveField, first: Index, last: Index, period: int, rate: int) -> ReceptiveField:
    """The field of what reads from ``first(t)`` to ``last(t)``, ``rate`` positions later every ``period`` positions."""
    repeats = field.period // math.gcd(field.period, rate)
    length = period * repeats
    return ReceptiveField(
        length,
        field.rate * (rate * repeats // field.period),
        tuple(field.of(first(t))[0] for t in range(length)),
        tuple(field.of(last(t))[1] for t in range(length)),
    )


def _number(node: Node, name: str, default: int = 0) -> int:
    """An attribute that is one number, or a list of one."""
    value = node.attribute(name, default)
    if isinstance(value, tuple) and len(value) == 1:
        (value,) = value
    assert isinstance(value, int)
    return value
