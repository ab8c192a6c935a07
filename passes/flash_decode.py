"""Attention of a decoder step over its cache with the keys of a head on several cores: flash decoding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from compiler.dialects.ttnn.attention import attention, typecast
from compiler.dialects.ttnn.decode_attention import decode_attention
from compiler.dialects.ttnn.embedding import embedding
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.program import Program, program
from compiler.dialects.ttnn.shape import reshape, view
from compiler.ir.builder import Builder
from compiler.ir.constants import Expression, evaluate, parameters
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.settings import Placement
from compiler.ir.types import TILE, DType
from passes.base import Property
from passes.rewrite import Match, Rejected, apply

LOWEST = -3e38
"""A mask of this or less hides a key: the lowest number of float32 is a little less, and bfloat16 makes it -inf."""
POSITIONS = TILE
"""How often the position stands in the vector that a step is given: rows of attention that it serves."""
GROUP = 4
"""Cores that share the keys of a row. Each core of a group costs about as much as a chunk of keys, and in measurements
on a p100a four were never slower than the default, which is sixteen: github.com/tenstorrent/tt-metal/pull/56896."""
ROUNDS = 2
"""Chunks for each core of a group when the cache is full: where a step is in between, their shares differ by less."""


@dataclass(frozen=True, slots=True)
class FlashDecode:
    """Deal the keys of each head out to several cores, and stop at the position, with no mask.

    ::

        position -> embedding(causal table) -> mask [1, 1, 1, t]
                                                     |
        attention(q [b, h, 1, d], k, v [b, h, t, d], mask, output_concat_heads=True) [b, 1, 1, h * d]
          ->
        position -> typecast(i32)
                         |
        scaled_dot_product_attention_decode(q [1, b * h, 1, d], k, v [b * h, 1, t, d], positions) [1, b * h, 1, d]
          -> view [b, 1, 1, h * d]

    ``scaled_dot_product_attention`` gives a core a head and a chunk of queries, so a step of one query keeps as many
    cores busy as there are heads, and reads the whole cache. ``..._decode`` deals out the rows of a batch, and the
    chunks of a row's keys. Heads stand for rows of the batch here (1): so each has its group of cores, and queries,
    keys and values are as they are, in another shape. The mask's row is no longer looked up (2), where nothing else
    reads it. Chunks are as long as leaves each core of a group two, in a cache that is full (3).

    The vector of positions must hold one number throughout, as the contract of a step's ``position`` says.
    The op computes the approximate exponential, whatever its program configuration says, so
    this plan is less accurate: ``accuracy`` says by how much, and whoever shows the plan shows that.
    Refuses more than one query, heads that are not laid side by side, a mask that is no row of a causal table looked
    up by a vector of 32, and more heads of all rows together than that vector has numbers or the device has cores.
    """

    cores: int

    accuracy: ClassVar[str] = (
        "self-attention computes an approximate exponential and ignores exp_approx_mode=False: its results are off by "
        "1.5 to 2.7 % of the largest, where without this pass 0.4 to 0.6 % are lost (ttnn's kernels on a simulated "
        "Wormhole)"
    )
    name: ClassVar[str] = "flash-decode"
    requires: ClassVar[tuple[Property, ...]] = ()
    ensures: ClassVar[tuple[Property, ...]] = ()

    def run(self, graph: Graph) -> Graph:
        return apply(self, graph)

    def match(self, graph: Graph, node: Node) -> Match | Rejected | None:
        if node.op is not attention:
            return None
        batch, heads, queries, _ = node["input_tensor_q"].type.shape
        keys, mask = node["input_tensor_k"].type.shape[-2], node.operand("attn_mask")
        if queries != 1:
            return Rejected(f"{queries} queries a head, where a step has one")
        if not node.attribute("output_concat_heads"):
            return Rejected("its heads are not laid side by side")
        looked_up = _looked_up(graph, mask) if mask is not None and mask.type.shape == (1, 1, 1, keys) else None
        if looked_up is None or not _is_causal(graph.expressions.get(looked_up["weight"])):
            return Rejected("its mask is no row of a causal table, looked up by a position")
        position = looked_up["input_tensor"]
        if position.type.shape[-1] != POSITIONS:
            return Rejected(f"the position stands there {position.type.shape[-1]} times, not {POSITIONS}")
        if batch * heads > min(POSITIONS, self.cores):
            return Rejected(f"{batch * heads} heads of all rows, and {min(POSITIONS, self.cores)} are possible")
        values = tuple((name, node[name]) for name in ("input_tensor_q", "input_tensor_k", "input_tensor_v"))
        return Match((node, *_only_for(graph, node)), (*values, ("position", position)))

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, origins = match.nodes[0], match.origins
        batch, heads, _, head = node["input_tensor_q"].type.shape
        rows, keys = batch * heads, node["input_tensor_k"].type.shape[-2]

        def shaped(role: str, *shape: int) -> Value:
            value = match[role]
            same = value.type.shape == shape
            return value if same else emit(builder, reshape, {"input_tensor": value}, {"shape": shape}, origins)

        operands = {  # (1)
            "input_tensor_q": shaped("input_tensor_q", 1, rows, 1, head),
            "input_tensor_k": shaped("input_tensor_k", rows, 1, keys, head),
            "input_tensor_v": shaped("input_tensor_v", rows, 1, keys, head),
            "cur_pos_tensor": emit(
                builder, typecast, {"input_tensor": match["position"]}, {}, origins, Placement(dtype=DType.INT32)
            ),
        }
        group = min(GROUP, self.cores // rows)
        attributes = {"is_causal": True, "scale": node.attribute("scale", head**-0.5)}
        told = Program(program(node).fidelity, k_chunk_size=_chunk(keys, group), max_cores_per_head_batch=group)
        made = emit(builder, decode_attention, operands, attributes, origins, how=told)
        return (emit(builder, view, {"input_tensor": made}, {"shape": node.result.type.shape}, origins),)


def _looked_up(graph: Graph, mask: Value) -> Node | None:
    """The look-up whose first row a mask is; ``None`` where it is something else."""
    node = graph.producers.get(mask)
    while node is not None and node.op is reshape:
        node = graph.producers.get(node["input_tensor"])
    return node if node is not None and node.op is embedding else None


def _only_for(graph: Graph, reader: Node) -> Iterator[Node]:
    """(2): What looks the mask of a node up and shapes it, as far as nothing else reads it, last one first."""
    made = reader["attn_mask"]
    while graph.only_used_by(made, reader):
        reader = graph.producers[made]
        yield reader
        if reader.op is embedding:
            return
        made = reader["input_tensor"]


@lru_cache(maxsize=64)
def _is_causal(table: Expression | None) -> bool:
    """Whether row p of a constant table hides the keys behind p, and changes no score up to it."""
    if table is None or any(True for _ in parameters(table)):
        return False
    rows = evaluate(table)
    behind = torch.ones(rows.shape, dtype=torch.bool, device="cpu").triu(1)
    return rows.dim() == 2 and not rows[~behind].any() and bool((rows[behind] <= LOWEST).all())


def _chunk(keys: int, group: int) -> int:
    """(3): a power of two of tiles that divides the keys, as ttnn wants it; one tile at least."""
    chunk = TILE
    while keys % (2 * chunk) == 0 and keys // (2 * chunk) >= ROUNDS * group:
        chunk *= 2
    return chunk
