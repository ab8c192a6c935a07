"""Cases of passes as text: a graph with marks for what a pass takes out, puts in, and leaves with a reason.

A case begins with lines of ``#``: what it shows, ``# run:`` and the passes, ``# numbers:`` and what its numbers are.
Then comes the graph, each line behind a mark: ``-`` for a line of the graph before alone, ``+`` for one of the graph
after alone, none for a line of both. ``?`` is a near miss of a pass at the node above, with the reason.

What follows are other graphs. Lines of ``~`` say how one differs from the graph before: they replace lines that define
the same, or are added; types of results are inferred anew, and what is dead then is left out. Behind them is what the
passes make of it: reasons, and lines of ``+`` for what is neither as ``~`` says, nor as in the case's graph after them,
nor, where neither defines it, as in the graph before them. Without ``+`` they leave the graph as it is.
"""

from __future__ import annotations

import difflib
import itertools
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from compiler.dialects import DIALECTS
from compiler.ir.builder import without_dead_nodes
from compiler.ir.constants import Literal, parameters
from compiler.ir.graph import Graph, Role, Value
from compiler.ir.literals import read_literals
from compiler.ir.operation import Origin
from compiler.ir.parse import parse
from compiler.ir.text import node_text, to_text, value_names
from compiler.ir.types import DType, TensorType
from compiler.pipeline import ATEN_PASSES, WEIGHT_PASSES, ttnn_passes
from compiler.target.boards import BOARDS
from passes.rewrite import Matcher, near_misses
from passes.shard_weights import DramModel
from passes.width_shards import Grid
from tests.sketch import Case

FOLDER = Path(__file__).parent / "cases"
_STEPS = (*ATEN_PASSES, *ttnn_passes(BOARDS["n150"]), *(step for steps in WEIGHT_PASSES.values() for step in steps))
_NAMES = {type(step).__name__: type(step) for step in _STEPS} | {"Grid": Grid, "DramModel": DramModel}


@dataclass(frozen=True)
class Other:
    """Another graph with its numbers, and the lines that say how it differs from the one of its case."""

    lines: tuple[str, ...]
    case: Case


@dataclass(frozen=True)
class TextCase:
    """What a file says: the lines that head it, the passes, the graph before with its numbers, and others."""

    head: tuple[str, ...]
    steps: tuple[Any, ...]
    case: Case
    others: tuple[Other, ...] = ()

    @classmethod
    def read(cls, path: Path) -> TextCase:
        lines = path.read_text().splitlines()
        head = tuple(line for line in lines if line.startswith("#"))
        end = lines.index("  }") + 1
        before = [line[2:] for line in lines[len(head) : end] if line[:1] in " -"]
        beside = path.with_suffix(".safetensors")
        literals: Mapping[str, Literal] = read_literals(beside) if beside.exists() else {}
        steps = eval(f"({_said(head, 'run')},)", _NAMES)
        numbers = _said(head, "numbers")
        others = []
        for edit in _edits(lines[end:]):
            graph = differing(parse("\n".join(edited(before, edit)), DIALECTS, literals))
            unread = {_defined(line) for line in edit} - set(_by_name(to_text(graph)))
            assert not unread, f"{path.name}: what defines {', '.join(unread)} makes no difference, nothing reads it"
            others.append(Other(edit, numbered(graph, numbers)))
        return cls(head, steps, numbered(parse("\n".join(before), DIALECTS, literals), numbers), tuple(others))

    def text(self, after: Graph, others: Sequence[Graph]) -> str:
        """The file with these graphs after the passes, all in the form that is printed now."""
        reasons = _reasons(self.steps, after)
        old, new = to_text(self.case.graph).splitlines(), to_text(after).splitlines()
        gone_from, made_of = _places(self.case.graph), _places(after)
        lines = list(self.head)
        for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            gone, made = ([], []) if tag == "equal" else (old[i:j], new[k:m])
            seen: set[Origin] = set()
            for line in gone:  # what stands for nodes comes behind the last of them
                lines.append(f"- {line}")
                seen |= gone_from.get(line, set())
                while made and line is not gone[-1] and made_of.get(made[0]) and made_of[made[0]] <= seen:
                    lines += _marked("+", made.pop(0), reasons)
            for line in made:
                lines += _marked("+", line, reasons)
            for line in new[k:m] if tag == "equal" else ():
                lines += _marked(" ", line, reasons)
        own, made = (_by_name(to_text(graph, origins=False)) for graph in (self.case.graph, after))
        for other, changed in zip(self.others, others, strict=True):
            before = _by_name(to_text(other.case.graph, origins=False))
            edit = {name: before.get(name, line) for name, line in _by_name("\n".join(other.lines)).items()}
            known = before | made | edit
            edit = {name: line for name, line in edit.items() if line != own.get(name)}
            lines += [f"~ {line}" for line in edit.values()]
            new = [line for name, line in _by_name(to_text(changed, origins=False)).items() if known.get(name) != line]
            changes = [] if changed is other.case.graph else [f"+ {line}" for line in new] or ["+"]
            said = [f"?     {reason}" for reason in itertools.chain(*_reasons(self.steps, changed).values())]
            lines += [*changes, *said] or ["?"]
        return "\n".join(lines) + "\n"


def _reasons(steps: Sequence[Any], graph: Graph) -> dict[str, list[str]]:
    """The near misses of passes, by the line of the node."""
    found: dict[str, list[str]] = {}
    names = value_names(graph)
    for step in steps:
        for node, reason in near_misses(step, graph) if isinstance(step, Matcher) else ():
            found.setdefault(node_text(node, names), []).append(reason)
    return found


def _marked(mark: str, line: str, reasons: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{mark} {line}", *(f"?     {reason}" for reason in reasons.get(line.strip(), ()))]


def _places(graph: Graph) -> dict[str, set[Origin]]:
    """The origins of the node that a line of the text is."""
    names = value_names(graph)
    return {f"    {node_text(node, names)}": set(node.origins) for node in graph.nodes}


def _by_name(text: str) -> dict[str, str]:
    return {_defined(line): line for line in text.splitlines()}


def _edits(lines: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The runs of lines behind ``~``."""
    for marked, run in itertools.groupby(lines, lambda line: line.startswith("~")):
        if marked:
            yield tuple(line[2:] for line in run)


def _defined(line: str) -> str:
    return re.split(r": | = ", line.strip())[0]


def edited(before: Sequence[str], edit: Sequence[str]) -> list[str]:
    """The lines of a graph with some replaced, and others added to their sections: nodes before the next replaced."""
    lines = list(before)
    waiting: list[str] = []
    for line in edit:
        places = [i for i, old in enumerate(lines) if _defined(old) == _defined(line)]
        is_node = re.search(r" = (aten|ttnn)\.", line) is not None
        if places:
            lines[places[0] : places[0] + 1] = [*(waiting if is_node else ()), line]
            waiting = [] if is_node else waiting
        elif is_node:
            waiting.append(line)
        else:
            section = "}" if line.lstrip()[0] != "%" else "  nodes:" if " = " in line else "  constants:"
            lines.insert(lines.index(section), line)
    at = lines.index("  outputs:")
    return [*lines[:at], *waiting, *lines[at:]]


def differing(graph: Graph) -> Graph:
    """The graph with the types of its results as they follow from its inputs, without what is dead."""
    known: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        current = node.with_operands(known)
        types = node.op.infer(current)
        made = tuple(replace(value, type=type) for value, type in zip(node.results, types, strict=True))
        known.update(zip(node.results, made, strict=True))
        nodes.append(replace(current, results=made))
    outputs = tuple(replace(port, value=known.get(port.value, port.value)) for port in graph.outputs)
    return without_dead_nodes(replace(graph, nodes=tuple(nodes), outputs=outputs))


def _said(head: tuple[str, ...], key: str) -> str:
    return next((line.removeprefix(f"# {key}: ") for line in head if line.startswith(f"# {key}: ")), "")


def numbered(graph: Graph, said: str = "") -> Case:
    """A graph with numbers: normal ones for floats but a variance's, zeros and ones for masks and integers.

    Or what is said: ``NAME < 7``, ``NAME = 40``, ``NAME 0 or 1``; of a parameter inside an expression, its shape.
    """
    given = {found[1]: found[2] for found in re.finditer(r"([^ ,]+) (< \d+|= \d+|0 or 1|\[[\d,]*\])", said)}
    inputs = {p.name: _data(p.name, p.value.type, p.role, given.get(p.name, "")) for p in graph.inputs}
    weights: dict[str, Tensor] = {}
    for constant in graph.constants:
        for name in parameters(constant.expression):
            shape = tuple(int(size) for size in re.findall(r"\d+", given.get(name, "")))
            weights[name] = _weight(name, constant.value.type.with_(shape=shape) if shape else constant.value.type)
    return Case(graph, weights, inputs)


def _data(name: str, type: TensorType, role: Role, said: str) -> Tensor:
    random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    below = int(said[2:]) if said.startswith("<") else 2
    if said.startswith("="):
        return torch.full(type.shape, int(said[2:]))
    if type.dtype.is_float and Role.MASK not in role and said != "0 or 1":
        return torch.randn(type.shape, generator=random)
    data = torch.randint(below, type.shape, generator=random)
    return data.to(torch.float32) if type.dtype.is_float else data.bool() if type.dtype is DType.BOOL else data


def _weight(name: str, type: TensorType) -> Tensor:
    data = _data(name, type, Role.NONE, "")
    return data.abs() + 0.5 if name.endswith("var") else data
