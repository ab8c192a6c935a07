"""How many of torch's threads a graph is worth, and computing on so many without a trace in the caller's setting.

Measured on two cores with torch 2.15, times in ms on one thread and on two, quiet (the process before all others) and
beside eight busy processes:

| graph | MFLOP | weights, MB | quiet | busy |
| --- | --- | --- | --- | --- |
| small voice, decoder step | 2 | 3 | 1.6, 1.5 | 43, 170 |
| small voice, encoder | 59 | 2 | 1.8, 1.6 | 28, 280 |
| small voice, post-net | 220 | 1 | 3.7, 2.4 | 38, 1000 |
| small voice, vocoder | 320 | 1 | 15, 14 | 61, 3150 |
| default width, 1 layer, decoder step | 19 | 36 | 5.2, 4.1 | 58, 570 |
| default width, 1 layer, encoder | 933 | 29 | 9.9, 5.8 | 90, 500 |
| default width, 2 layers, decoder step | 36 | 69 | 7.1, 5.2 | |

Threads meet at the end of each op, and one that has lost its core keeps the others waiting for a time slice. So a
second thread can save half, or cost ten times as much: it is worth it where there is much to save.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

import torch

from compiler.dialects.ttnn.op import TtnnOp
from compiler.ir.graph import Graph
from compiler.runtime.own_threads import setters

FLOPS_A_MILLISECOND = 1e8
BYTES_A_MILLISECOND = 1e7
"""What one thread computes, and what it reads of weights: with these the quiet times of larger graphs come out."""
MILLISECONDS_A_THREAD = 3.0
"""The small voice's graphs are below it, and those of the default width above."""
PARAMETERS_A_THREAD = 1_000_000
"""Of a vocoder, which is no graph of ours: the small voice's has 0.3 million, the published one thirteen."""


def for_graph(graph: Graph) -> int:
    """How many threads a graph is worth on the CPU, at least one."""
    flops = 0
    for node in graph.nodes:
        if isinstance(node.op, TtnnOp):
            operands = {name: value.type for name, value in zip(node.names, node.operands, strict=True)}
            flops += node.op.cost.flops(operands, [value.type for value in node.results])
    read = sum(4 * constant.value.type.elements for constant in graph.constants)
    return max(1, ceil((flops / FLOPS_A_MILLISECOND + read / BYTES_A_MILLISECOND) / MILLISECONDS_A_THREAD))


def for_vocoder(vocoder: object) -> int | None:
    """How many threads a torch module is worth; ``None`` for any other function."""
    if not isinstance(vocoder, torch.nn.Module):
        return None
    return max(1, ceil(sum(parameter.numel() for parameter in vocoder.parameters()) / PARAMETERS_A_THREAD))


@contextmanager
def at_most(count: int | None) -> Iterator[None]:
    """Compute in this thread on ``count`` of torch's threads, or on the caller's number where that is less.

    Other threads, those that begin meanwhile, too, have the numbers that they would have had: the process's is not
    touched. A number that is set meanwhile stays, in whichever thread. One case looks as if nothing had been set: this
    thread (a ``progress`` function) sets the very number ``count``; it gets the one of before back, and only threads
    that begin later have what was set. Where torch's threads cannot be reached (:func:`own_threads.setters`), all of
    the caller's compute.
    """
    before, thread = torch.get_num_threads(), threading.get_ident()
    own = None if count is None or count >= before else setters()
    if own is None or count is None:
        yield
        return
    mkl = own.mkl(before)  # as it is in effect; an interrupt from here on leaves nothing that is not put back
    try:
        own.openmp(count)
        own.mkl(count)
        yield
    finally:
        # Left in another thread, this one's number would be put there.
        if torch.get_num_threads() == count and threading.get_ident() == thread:
            own.openmp(before)
            own.mkl(mkl)
