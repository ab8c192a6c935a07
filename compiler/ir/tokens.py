"""The lines of a text and their tokens, for :mod:`compiler.ir.parse`: what is expected, and errors that say where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from compiler.errors import GraphSyntaxError

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<comment>\#.*)
  | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | (?P<number>[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|inf|nan)(?![\w.]))
  | (?P<literal>literal:[0-9a-f]+)
  | (?P<value>%(?:"(?:[^"\\]|\\.)*"|\w(?:[\w.]*\w)?))
  | (?P<named>(?:None|True|False)(?![\w.]))
  | (?P<word>[A-Za-z_](?:[\w.]*\w)?)
  | (?P<mark>[][(){}=,:])
    )""",
    re.VERBOSE | re.ASCII,
)


DIGITS = 19
"""The most digits of a number without a fraction: those of the greatest of 64 bits."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a line: its kind, its text, and the column where it begins, from 1."""

    kind: str
    text: str
    column: int


class Lines:
    """The lines of a text that say something, and the tokens of the current one."""

    def __init__(self, text: str) -> None:
        self._lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
        self._at = -1
        self._tokens: list[Token] = []
        self.comment = ""

    def advance(self, expected: str) -> None:
        """Go to the next line. ``expected`` is what the message asks for where there is none."""
        self._at += 1
        if self._at == len(self._lines):
            raise GraphSyntaxError(
                f"the text ends in line {self._lines[-1][0] if self._lines else 0}: {expected} is missing"
            )
        _, line = self._lines[self._at]
        self._tokens, self.comment, place = [], "", 0
        while place < len(line.rstrip()):
            found = _TOKEN.match(line, place)
            if found is None:
                self.fail("nothing here can be read", Token("", "", len(line) - len(line[place:].lstrip()) + 1))
            kind = str(found.lastgroup)
            if kind == "comment":
                self.comment = found[kind].removeprefix("#").strip()
            else:
                self._tokens.append(Token(kind, found[kind], found.start(kind) + 1))
            place = found.end()

    @property
    def is_last(self) -> bool:
        return self._at == len(self._lines) - 1

    def is_just(self, *texts: str) -> bool:
        """Whether these are the tokens of the line, none taken yet."""
        return tuple(token.text for token in self._tokens) == texts

    def peek(self) -> Token:
        """The next token of the line; one of kind ``end`` past the last."""
        end = len(self._lines[self._at][1].rstrip()) + 1
        return self._tokens[0] if self._tokens else Token("end", "the end of the line", end)

    def take(self, expected: str, *kinds: str) -> Token:
        """The next token, which must be of one of the ``kinds``, or be the text ``expected`` where none is given."""
        token = self.peek()
        if token.kind not in kinds if kinds else token.text != expected:
            self.fail(f"{expected} is expected, and {token.text} is there", token)
        del self._tokens[0]
        return token

    def accept(self, text: str) -> bool:
        """Take the next token if it is this text."""
        if self.peek().text != text:
            return False
        del self._tokens[0]
        return True

    def argument(self) -> str | None:
        """Take ``NAME =`` where the line goes on with it; the name."""
        if len(self._tokens) < 2 or self._tokens[0].kind != "word" or self._tokens[1].text != "=":
            return None
        name = self._tokens[0].text
        del self._tokens[:2]
        return name

    def listed(self, opening: str, closing: str) -> Iterator[int]:
        """The places of a list, from the opening bracket to the closing one, with commas between."""
        place = 0
        self.take(opening)
        while not self.accept(closing):
            yield place
            place += 1
            if self.peek().text != closing:
                self.take(",")

    def integer(self, expected: str) -> int:
        """Take a number without sign or fraction."""
        token = self.take(expected, "number")
        if not token.text.isdecimal() or len(token.text) > DIGITS:
            self.fail(f"{expected} is expected, and {token.text} is there", token)
        return int(token.text)

    def finish(self) -> None:
        """Nothing may be left of the line."""
        if self._tokens:
            self.fail(f"the line should end before {self.peek().text}")

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        """Raise ``GraphSyntaxError`` at a token, the next one by default."""
        column = (token or self.peek()).column
        number, line = self._lines[self._at]
        raise GraphSyntaxError(f"line {number}, column {column}: {message}\n  {line}\n  {' ' * (column - 1)}^")
