"""A script's definitions and classes: one class for each part of a model, one method for each of its graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from compiler.dialects.ttnn.memory_configs import DeviceSpec
from compiler.dialects.ttnn.symbols import Named, Typed
from compiler.inspect.emit.blocks import Block
from compiler.inspect.emit.bodies import printed
from compiler.inspect.emit.definitions import Definitions
from compiler.inspect.emit.definitions import printed as definitions_printed
from compiler.inspect.emit.functions import Calls, factored
from compiler.inspect.emit.hints import GIVEN, Hints
from compiler.inspect.emit.lines import dictionary, docstring, indented, quoted, signature, unpacking
from compiler.inspect.emit.loops import Item, Loop, Rolled, rolled
from compiler.inspect.emit.names import Weights, joined
from compiler.inspect.emit.places import table_of
from compiler.inspect.emit.preparing import with_shared_call
from compiler.inspect.emit.repeats import invariants_first
from compiler.inspect.emit.routines import Routine, Rows, extracted, rows_of, table_lines
from compiler.inspect.emit.sizes import Tables, join
from compiler.inspect.emit.statements import (
    Key,
    Local,
    Program,
    Ref,
    Statement,
    Weight,
    programs,
)
from compiler.inspect.emit.trees import Tree, rewritten
from compiler.inspect.emit.turns import BLOCK
from compiler.inspect.emit.variants import merged, optional
from compiler.inspect.emit.walks import loops_of, statements_of
from compiler.runtime.executable import Executable


@dataclass(frozen=True)
class Method:
    """A method: the graph that it runs, for each of its sizes.

    ``more``: the same graph with more inputs, which the method takes too.
    With several sizes, ``length`` is what they are called, and the method takes it. ``state``: it takes its inputs as a
    dictionary; otherwise by name.
    """

    name: str
    doc: str
    executables: Mapping[int, Executable]
    length: str = ""
    state: bool = False
    more: Mapping[int, Executable] | None = None


@dataclass(frozen=True)
class Part:
    """A class: its methods, what its weights' names begin with, and modules that these names leave out."""

    name: str
    doc: str
    key: str
    methods: tuple[Method, ...]
    strips: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """What a script is made of: definitions and functions, then classes, as lines; and the weights by name.

    ``names`` has what the definitions are called.
    """

    definitions: tuple[str, ...]
    classes: tuple[str, ...]
    weights: Mapping[str, torch.Tensor]
    names: Definitions


@dataclass(frozen=True)
class _Written:
    """A method's statements in their last form."""

    method: Method
    program: Program
    tables: Tables | None
    rolled: Rolled
    routine: Routine | None
    inner: Rolled | None
    required: tuple[str, ...]

    @property
    def given_too(self) -> str:
        """The input by which the method knows that it is given more."""
        return next((name for name in self.program.inputs if name not in self.required), "")

    def statements(self) -> Iterator[Statement]:
        for item in (*self.rolled.items, *(self.inner.items if self.inner else ())):
            yield from statements_of(item)


def written(parts: Sequence[Part], device: DeviceSpec) -> Source:
    """Write parts of a model as classes. Raises ``trees.Differs`` where graphs of several sizes have other calls."""
    definitions = Definitions(device)
    made: list[tuple[Part, Weights, list[_Written]]] = []
    for part in parts:
        weights = Weights(part.key, part.strips)
        made.append((part, weights, _apart([_written(method, definitions, weights) for method in part.methods])))
    statements = [s for _, _, methods in made for method in methods for s in method.statements()]
    calls = factored(statements, lambda function: len(printed(function)))
    definitions.short(Named("ttnn.DRAM_MEMORY_CONFIG"))
    classes: list[str] = []
    tensors: dict[str, torch.Tensor] = {}
    for part, weights, methods in made:
        classes += ["", "", *_class(part, weights, methods, calls, definitions)]
        tensors |= {f"{part.key}.{name}": _stored(tensor) for name, tensor in weights.tensors.items()}
    functions = [line for each in with_shared_call(calls.functions) for line in ("", "", *printed(each))]
    return Source((*definitions_printed(definitions), *functions), tuple(classes), tensors, definitions)


def _apart(methods: list[_Written]) -> list[_Written]:
    """Methods of one class whose routines have names of their own."""
    found: list[_Written] = []
    for each in methods:
        taken = {other.routine.name for other in found if other.routine is not None}
        if each.routine is None or each.routine.name not in taken:
            found.append(each)
            continue
        name = f"{each.method.name.strip('_')}_{each.routine.name}"
        items = tuple(_renamed(item, f"self.{each.routine.name}", f"self.{name}") for item in each.rolled.items)
        rolled = replace(each.rolled, items=items)
        found.append(replace(each, rolled=rolled, routine=replace(each.routine, name=name)))
    return found


def _renamed(item: Item, path: str, name: str) -> Item:
    if isinstance(item, Loop):
        return replace(item, body=tuple(_renamed(each, path, name) for each in item.body))
    return replace(item, path=name) if item.path == path else item


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    """A weight as the file has it: in bfloat16 where that holds it exactly."""
    short = tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
    return (short if torch.equal(short.to(tensor.dtype), tensor) else tensor).contiguous()


def _written(method: Method, definitions: Definitions, weights: Weights) -> _Written:
    several = programs(method.executables, definitions, weights)
    program, tables = next(iter(several.values())), None
    if len(several) > 1:
        program, tables = join(several, method.length)
    inputs = program.inputs
    if method.more is not None:
        (more,) = programs(method.more, definitions, weights).values()
        program = merged(_in_order(program), _in_order(more))
    statements = [_on_device(s) for s in _in_order(program).statements]
    left, outputs, routine = extracted(statements, program.outputs)
    taken = frozenset() if tables is None else frozenset((*tables.tables, tables.variable))
    inner = (
        None if routine is None else rolled(routine.body, routine.outputs, taken | {*routine.columns, *routine.takes})
    )
    return _Written(method, program, tables, rolled(left, outputs, taken), routine, inner, inputs)


def _in_order(program: Program) -> Program:
    return replace(program, statements=tuple(invariants_first(program.statements)))


def _on_device(statement: Statement) -> Statement:
    """The open device is an attribute of the class."""

    def change(tree: Tree) -> Tree:
        return Typed("self.device") if tree == Named("device") else tree

    return replace(statement, keywords=tuple((name, rewritten(value, change)) for name, value in statement.keywords))


# --- classes ----------------------------------------------------------------------------------------------------------


def _class(
    part: Part, weights: Weights, methods: Sequence[_Written], calls: Calls, definitions: Definitions
) -> list[str]:
    read = [statement for each in methods for statement in each.statements()]
    place_of, table = table_of(_table_name(part), read, weights, definitions)
    has_table = any(not line.startswith("#") for line in table)
    lines = [*table, "", "", f"class {part.name}:", *indented(docstring(part.doc), 4)]
    tables = _tables(methods)
    for rows, name in tables.items():
        lines += ["", *indented(table_lines(name, rows), 4)]
    lines += ["", *indented(_constructor(part, place_of, has_table, methods), 4)]
    for each in methods:
        lines += ["", *indented(_method(each, calls), 4)]
        if each.routine is not None and each.inner is not None:
            rows_name = tables.get(rows_of(each.routine), "")
            lines += ["", *indented(_routine(each.routine, each.inner, calls, rows_name), 4)]
    return lines


def _table_name(part: Part) -> str:
    return f"{part.key.upper()}_WEIGHTS"


def _constructor(part: Part, place_of: str, has_table: bool, methods: Sequence[_Written]) -> list[str]:
    lines = ["def __init__(self, device, weights):", "    self.device = device"]
    table = _table_name(part) if has_table else "{}"
    lines.append(f'    self.w = load(weights, device, "{part.key}.", {place_of}, {table})')
    for each in methods:
        if _prepares(each):
            by_size = ", by size" if each.tables is not None else ""
            lines.append(f"    self.{_own(each)} = {{}}  # weights as convolutions prepared them{by_size}")
    return lines


def _own(written: _Written) -> str:
    return f"prepared_{written.method.name.strip('_')}"


def _prepares(written: _Written) -> bool:
    return any(s.prepared for s in written.statements())


def _method(written: _Written, calls: Calls) -> list[str]:
    method, program = written.method, written.program
    names = list(program.inputs)
    parameters = ["state"] if method.state else [n if n in written.required else f"{n}=None" for n in names]
    variable = [method.length] if written.tables is not None else []
    lines = [*signature(method.name, ["self", *parameters, *variable], 4), *indented(docstring(method.doc), 4)]
    body: list[str] = []
    if _prepares(written):
        given = f"{written.given_too} is not None" if written.given_too else '"all"'
        size = method.length if written.tables is not None else given
        body.append(f"w = self.{_own(written)}.setdefault({size}, dict(self.w))")
    elif any(isinstance(ref, Weight) for s in written.statements() for ref in s.operands):
        body.append("w = self.w")
    if written.tables is not None:
        for name, table in written.tables.tables.items():
            items = ", ".join(f"{size}: {value}" for size, value in table.items())
            body.append(f"{name} = {{{items}}}[{method.length}]")
    block = _block(written.rolled, calls, method.state, [] if method.state else names)
    block.given_too = written.given_too
    outputs = written.rolled.outputs
    collected = any(loop.outputs for item in written.rolled.items for loop in loops_of(item))
    if collected:
        body.append("out = {}")
    if written.tables is not None:
        block.scope = frozenset((*written.tables.tables, method.length))
    needed = frozenset(ref for _, ref in outputs)
    body += block.write(written.rolled.items, needed, 8, last=True)
    body += _returned(outputs, block, collected, method.state)
    return [*lines, *indented(body, 4)]


def _returned(outputs: Sequence[tuple[Key, Ref]], block: Block, collected: bool, state: bool) -> list[str]:
    if len(outputs) == 1 and not collected and not state:
        return [f"return {block.text(outputs[0][1])}"]
    pairs = [(quoted(joined(key)), block.text(ref)) for key, ref in outputs]
    if not pairs:
        return ["return out"]
    return dictionary("return out | " if collected else "return ", pairs)


def _routine(routine: Routine, inner: Rolled, calls: Calls, table: str) -> list[str]:
    lines = signature(routine.name, ["self", "w", BLOCK, GIVEN], 4)
    body = [f"{', '.join(routine.takes)} = {GIVEN}", f"{GIVEN}.clear()"]
    if len(routine.takes) == 1:
        body[0] = f"({routine.takes[0]},) = {GIVEN}"
    if routine.columns:
        body += unpacking(f"self.{table}[{BLOCK}]", list(routine.columns))
    block = _block(inner, calls, False, tuple(routine.columns))
    block.take(routine.takes)
    block.given_too = routine.optional
    block.scope = frozenset((*routine.columns, BLOCK))
    results = [ref for _, ref in inner.outputs]
    body += block.write(inner.items, frozenset(results), 8, last=True)
    body.append(f"return {', '.join(block.text(ref) for ref in results)}")
    return [*lines, *indented(body, 4)]


def _tables(methods: Sequence[_Written]) -> dict[Rows, str]:
    """The tables of numbers that methods look up by block, each once, with its name."""
    found: dict[Rows, str] = {}
    for each in methods:
        if each.routine is not None and each.routine.columns:
            name = f"{each.routine.name.upper()}S"
            found.setdefault(rows_of(each.routine), name if name not in found.values() else f"{name}_{len(found) + 1}")
    return found


def _block(rolled: Rolled, calls: Calls, state: bool, names: Sequence[str]) -> Block:
    functions = {function.name for function in calls.functions} | {"to_device", "rounded"}
    columns = {name for item in rolled.items for loop in loops_of(item) for name in (*loop.columns, loop.counter)}
    statements = [s for item in rolled.items for s in statements_of(item)]
    block = Block(calls, state, frozenset(functions | columns | set(names)), Hints.of(rolled.items, rolled.outputs))
    block.optional = optional(statements)
    ended = {Local(s.number): s.operands[s.otherwise] for s in statements if s.otherwise is not None}
    block.onward = {other: ref for ref, other in ended.items() if other in ended}
    block.always = frozenset(ref for s in statements if not s.guards for ref in s.operands)
    return block
