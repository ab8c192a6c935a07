"""A checker of plans in L1.

It shares no code with the pass: it runs through the nodes as a device does, allocates what they make and frees what
nothing reads any more.
"""

from __future__ import annotations

from compiler.dialects.ttnn.attention import attention, update_caches
from compiler.dialects.ttnn.convolution import conv1d, l1_bytes
from compiler.dialects.ttnn.linear import linear
from compiler.dialects.ttnn.program import Cores, program
from compiler.dialects.ttnn.shape import reshape
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Stage
from compiler.ir.types import Layout, Memory, TensorType
from passes.place_in_l1 import PlaceInL1
from tests.sketch import DRAM, L1


def on_a_core(type: TensorType, cores: int) -> int:
    """Bytes of one core: pages are dealt out in turn, so the first core holds most."""
    if type.memory is Memory.L1_HEIGHT_SHARDED:
        rows = 1
        for size in type.padded_shape[:-1]:
            rows *= size
        tile_rows = -(-(rows // 32) // cores)
        return tile_rows * 32 * type.padded_shape[-1] * type.dtype.bytes
    if type.layout is Layout.ROW_MAJOR:
        page = -(-type.shape[-1] * type.dtype.bytes // 16) * 16
        pages = type.elements // type.shape[-1]
    else:
        page, pages = 1024 * type.dtype.bytes, type.bytes // (1024 * type.dtype.bytes)
    return len(range(0, pages, cores)) * page


def peaks(graph: Graph, cores: int) -> list[tuple[int, int]]:
    """Bytes in use on a core while each node runs, its operands and results included: interleaved, and in shards."""
    buffer: dict[Value, int] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for node in graph.nodes:
        for result in node.results:
            source = node.operands[0] if node.op is reshape else None
            if source in buffer and source.type.memory is result.type.memory and _stays(node):
                buffer[result] = buffer[source]
            elif result.type.memory in (L1, Memory.L1_HEIGHT_SHARDED) and not node.op.writes:
                buffer[result] = len(sizes)
                size = on_a_core(result.type, cores)
                sizes[len(sizes)] = (size, 0) if result.type.memory is L1 else (0, size)
    waiting = [{buffer[v] for v in node.operands if v in buffer} for node in graph.nodes]
    used, alive = [], set()
    for i, node in enumerate(graph.nodes):
        alive |= {buffer[v] for v in node.results if v in buffer}
        used.append((sum(sizes[b][0] for b in alive), sum(sizes[b][1] for b in alive)))
        alive &= set().union(*waiting[i + 1 :])
    return used


def _stays(node: Node) -> bool:
    """Whether a reshape leaves all where it is."""
    before, after = node.operands[0].type, node.result.type
    if node.attribute("logical_shape") is not None:
        return True
    if before.shape[-1] != after.shape[-1]:
        return False
    a, b = ((1, *t.shape)[-2] for t in (before, after))
    return before.layout is Layout.ROW_MAJOR or a == b or a % 32 == b % 32 == 0


def assert_planned(graph: Graph, step: PlaceInL1) -> None:
    """Nothing is in L1 that may not be there, and never too much."""
    check_graph(graph, Stage.TTNN)
    assert all(port.value.type.memory is DRAM for port in (*graph.inputs, *graph.outputs))
    for node in graph.nodes:
        reads = {name: v.type.memory for name, v in zip(node.names, node.operands, strict=True)}
        if node.op is attention:
            assert reads.get("attn_mask") is not L1
        if node.op is conv1d:
            assert reads["input_tensor"] is not L1
        if node.op is update_caches:
            assert reads["input_tensor1"] is reads["input_tensor2"]
            assert reads["cache_tensor1"] is reads["cache_tensor2"] is DRAM
        if node.op is linear and L1 in (reads["input_tensor_a"], node.result.type.memory):
            assert program(node).cores is Cores.ALL
    for node, (interleaved, shards) in zip(graph.nodes, peaks(graph, step.cores), strict=True):
        reserve = step.l1_bytes // 2 if step.reserve is None else step.reserve
        buffers = max(reserve, l1_bytes(node, step.cores) if node.op is conv1d else 0)
        assert not interleaved or interleaved + shards <= step.l1_bytes - buffers, node
