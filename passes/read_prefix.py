"""A graph reads the front of a longer input: what stands behind it is cut off inside."""

from __future__ import annotations

from dataclasses import replace

from compiler.dialects.aten import emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Value


def read_prefix(graph: Graph, name: str, dim: int, size: int) -> Graph:
    """Let the input ``name`` have ``size`` elements along ``dim``, of which the graph uses as many as it did before.

    ::

        %x: f32[1,1,37,192] -> view ...        ->        %x: f32[1,1,64,192] -> slice(dim=2, end=37) -> view ...

    So a graph for the very length of what was said takes the cache that was filled up to there: what the cache holds
    past it no node can see but the slice. It changes what a graph is handed, so it is no ``Pass``. The same graph where
    the input has this size; ``ValueError`` where it has more.
    """
    old = graph.input(name)
    port = next(port for port in graph.inputs if port.value is old)
    wanted = old.type.shape[dim]
    if size == wanted:
        return graph
    if size < wanted:
        raise ValueError(f"input {name} has {wanted} elements along dimension {dim}, and {size} are to hold them")
    shape = (*old.type.shape[:dim], size, *old.type.shape[dim + 1 :])
    longer = replace(port, value=Value(old.type.with_(shape=shape)))
    builder = Builder.on(graph)
    readers = graph.users.get(old, ())
    origins = readers[0].origins if readers else ()
    front = emit(builder, ops.slice.Tensor, longer.value, dim, 0, wanted, origins=origins)
    builder.mapping[old] = front
    builder.nodes += [node.with_operands(builder.mapping) for node in graph.nodes]
    inputs = [longer if each is port else each for each in graph.inputs]
    return builder.graph(graph.name, inputs, graph.outputs)
