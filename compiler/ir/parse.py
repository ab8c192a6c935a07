"""Text back to a graph: the inverse of :func:`compiler.ir.text.to_text`."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import torch

from compiler.ir.constants import Computed, Expression, Literal, Parameter
from compiler.ir.graph import Constant, Graph, Node, Port, Role, Value
from compiler.ir.operation import Attribute, HostOperation, Operation
from compiler.ir.origins import from_text
from compiler.ir.settings import Placement, Settings, read_settings
from compiler.ir.text import FORMAT
from compiler.ir.tokens import Lines, Token
from compiler.ir.types import DType, Layout, Memory, TensorType

_NAMED: Mapping[str, Attribute] = {
    **{"None": None, "True": True, "False": False},
    **{text: float(text) for text in ("inf", "+inf", "-inf", "nan", "+nan", "-nan")},
}


@dataclass(frozen=True, slots=True)
class Dialects:
    """The ops that a text may name.

    ``operations`` finds a node's op by its name, under what the name has before its first dot; ``host`` finds an op of
    an expression by its spelling. Both raise ``KeyError`` for what there is not. ``programs`` are the records in which
    dialects say how a node runs, where they do, under the same as ``operations``.
    """

    operations: Mapping[str, Callable[[str], Operation]]
    host: Callable[[str], HostOperation]
    programs: Mapping[str, type[Settings]] = field(default_factory=dict)


def parse(text: str, dialects: Dialects, literals: Mapping[str, Literal] | None = None) -> Graph:
    """Read a graph from its text: ``parse(str(graph), dialects, literals(graph)) == graph``, origins included.

    A comment that is no list of origins is a remark, and not read. ``literals`` are those of which the text has the
    digest alone. Types are taken as they are stated, so check the graph before it is used. Raises ``GraphSyntaxError``,
    with line and column, for what is no text of a graph.
    """
    reader = _Reader(text, dialects, literals or {})
    try:
        return reader.graph()
    except RecursionError:
        reader.fail_as_nested()


class _Reader:
    """The grammar: a method for each thing that a text is made of."""

    def __init__(self, text: str, dialects: Dialects, literals: Mapping[str, Literal]) -> None:
        self._lines, self._dialects, self._literals = Lines(text), dialects, literals
        self._values: dict[str, Value] = {}

    def graph(self) -> Graph:
        lines = self._lines
        lines.advance("'graph NAME {'")
        lines.take("graph")
        name = self._name("the name of the graph")
        lines.take("{")
        if lines.comment != f"format {FORMAT}":
            lines.fail(f"the comment '# format {FORMAT}' is expected, this version reads no other format")
        lines.finish()
        lines.advance("'inputs:'")
        inputs = self._section("inputs", ("constants", ":"), self._input)
        constants = self._section("constants", ("nodes", ":"), self._constant)
        nodes = self._section("nodes", ("outputs", ":"), self._node)
        outputs = self._section("outputs", ("}",), self._output)
        if not lines.is_last:
            lines.advance("")
            lines.fail("the graph has ended before this line")
        return Graph(name, inputs, constants, nodes, outputs)

    def fail_as_nested(self) -> NoReturn:
        self._lines.fail("brackets in brackets, more than can be read")

    def _section[Part](self, title: str, stop: tuple[str, ...], read: Callable[[], Part]) -> tuple[Part, ...]:
        """The parts of a section, a line each; afterwards the line that ends it is the current one."""
        lines = self._lines
        found: list[Part] = []
        lines.take(title)
        lines.take(":")
        lines.finish()
        lines.advance(repr("".join(stop)))
        while not lines.is_just(*stop):
            found.append(read())
            lines.finish()
            lines.advance(repr("".join(stop)))
        return tuple(found)

    def _input(self) -> Port:
        token, value = self._typed()
        self._define(token, value)
        role = Role.NONE
        if self._lines.accept("{"):
            while not self._lines.accept("}"):
                word = self._lines.take("a role", "word")
                if word.text.upper() not in Role.__members__:
                    self._lines.fail(f"there is no role {word.text}", word)
                role |= Role[word.text.upper()]
                if self._lines.peek().text != "}":
                    self._lines.take(",")
        return Port(value.name, value, role)

    def _constant(self) -> Constant:
        token, value = self._typed()
        self._define(token, value)
        self._lines.take("=")
        return Constant(value, self._expression())

    def _node(self) -> Node:
        lines = self._lines
        results = [self._typed()]
        while lines.accept(","):
            results.append(self._typed())
        lines.take("=")
        op = self._operation(lines.take("the name of an op", "word"))
        operands: list[tuple[str, Value]] = []
        attributes: list[tuple[str, Attribute]] = []
        for _ in lines.listed("(", ")"):
            name = lines.take("the name of an argument", "word").text
            lines.take("=")
            if name in dict(attributes):
                lines.fail(f"{name} is given twice")
            if lines.peek().kind == "value":
                operands.append((name, self._read()))
            else:
                attributes.append((name, self._attribute()))
        placement = read_settings(lines, "placement", Placement)
        program = read_settings(lines, "program", self._dialects.programs.get(op.name.partition(".")[0], Settings))
        for token, value in results:
            self._define(token, value)
        names, read = tuple(name for name, _ in operands), tuple(value for _, value in operands)
        made = tuple(value for _, value in results)
        listed = tuple(sorted(attributes, key=lambda each: each[0]))
        return Node(op, read, names, listed, made, from_text(lines.comment), placement, program)

    def _output(self) -> Port:
        name = self._name("the name of an output")
        self._lines.take("=")
        return Port(name, self._read())

    def _expression(self) -> Expression:
        lines = self._lines
        token = lines.take("an expression", "word", "string", "literal")
        if token.kind == "literal":
            digest = token.text.removeprefix("literal:")
            if digest not in self._literals:
                lines.fail("the text has this literal's digest alone, and its data were not given", token)
            return self._literals[digest]
        if token.kind == "word" and lines.peek().text == "(":
            return self._computed(token)
        if token.kind == "word" and lines.peek().text == "[":
            return self._literal(token)
        return Parameter(self._unquoted(token, token.text))

    def _computed(self, token: Token) -> Computed:
        """An op on expressions: operands that are not named are its first parameters, several of one in brackets."""
        lines = self._lines
        try:
            op = self._dialects.host(token.text)
        except KeyError as error:
            lines.fail(str(error.args[0]), token)
        operands: list[tuple[str, Expression]] = []
        attributes: list[tuple[str, Attribute]] = []
        for place in lines.listed("(", ")"):
            token = lines.peek()
            name = lines.argument()
            if name is None and place >= len(op.parameters):
                lines.fail(f"{op.spelling} has {len(op.parameters)} parameters", token)
            name = op.parameters[place] if name is None else name
            if name not in op.parameters:
                lines.fail(f"{op.spelling} has no parameter {name}", token)
            if op.takes_list(name):
                operands.extend((name, self._expression()) for _ in lines.listed("[", "]"))
            elif lines.peek().kind in ("number", "named") or lines.peek().text[0] in "'[":
                attributes.append((name, self._attribute()))
            else:
                operands.append((name, self._expression()))
        index = None
        if lines.accept("["):
            index = lines.integer("the place of a result")
            lines.take("]")
        return Computed(op, tuple(operands), tuple(attributes), index)

    def _literal(self, token: Token) -> Literal:
        type = self._type(token)
        values = [self._attribute() for _ in self._lines.listed("{", "}")]
        try:
            if not type.dtype.is_float and any(isinstance(value, float) for value in values):
                raise TypeError
            return Literal(torch.tensor(values, dtype=type.dtype.on_host, device="cpu").reshape(type.shape))
        except (RuntimeError, TypeError, ValueError):
            self._lines.fail(f"{len(values)} numbers of {type.dtype.value} do not make {type}", token)

    def _typed(self) -> tuple[Token, Value]:
        token = self._lines.take("a value such as %0", "value")
        self._lines.take(":")
        name = self._unquoted(token, token.text.removeprefix("%"))
        return token, Value(self._type(self._lines.take("a type", "word")), name)

    def _type(self, token: Token) -> TensorType:
        lines = self._lines
        try:
            dtype = DType(token.text)
        except ValueError:
            lines.fail(f"there is no element type {token.text}", token)
        shape = tuple(lines.integer("a size") for _ in lines.listed("[", "]"))
        layout, memory, shards = None, None, None
        if lines.peek().text in (each.value for each in Layout):
            layout = Layout(lines.take("a layout", "word").text)
        if lines.peek().text in (each.value for each in Memory):
            memory = Memory(lines.take("a memory", "word").text)
        if lines.accept("("):
            shards = lines.integer("a number of shards")
            lines.take(")")
        try:
            return TensorType(shape, dtype, layout, memory, shards)
        except ValueError as error:
            lines.fail(str(error), token)

    def _operation(self, token: Token) -> Operation:
        find = self._dialects.operations.get(token.text.partition(".")[0])
        if find is None:
            self._lines.fail(f"{token.text} is of no dialect: {', '.join(self._dialects.operations)} are known", token)
        try:
            return find(token.text)
        except KeyError:
            self._lines.fail(f"there is no op {token.text}", token)

    def _attribute(self) -> Attribute:
        lines = self._lines
        if lines.peek().text == "[":
            return tuple(self._attribute() for _ in lines.listed("[", "]"))
        token = lines.take(
            "a number, a text in single quotes, None, True, False or a list", "number", "named", "string"
        )
        if token.text in _NAMED:
            return _NAMED[token.text]
        if token.text[0] == '"':
            lines.fail("a text goes in single quotes", token)
        try:
            value: Attribute = ast.literal_eval(token.text)
        except (SyntaxError, ValueError):
            lines.fail(f"{token.text} is no number and no text", token)
        return value

    def _name(self, expected: str) -> str:
        token = self._lines.take(expected, "word", "string")
        return self._unquoted(token, token.text)

    def _unquoted(self, token: Token, name: str) -> str:
        if name[0] not in "'\"":
            return name
        try:
            return str(json.loads(name))
        except ValueError:
            self._lines.fail("a name goes in double quotes, with JSON's escapes", token)

    def _define(self, token: Token, value: Value) -> None:
        if value.name in self._values:
            self._lines.fail(f"{token.text} is defined already", token)
        self._values[value.name] = value

    def _read(self) -> Value:
        token = self._lines.take("a value such as %0", "value")
        name = self._unquoted(token, token.text.removeprefix("%"))  # in quotes or not, it is the same value
        if name not in self._values:
            self._lines.fail(f"{token.text} is read, and not defined before", token)
        return self._values[name]
