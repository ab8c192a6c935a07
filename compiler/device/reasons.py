"""What ttnn's errors say, without the backtrace of its C++ and with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from compiler.errors import DeviceError
from compiler.ir.graph import Node
from compiler.ir.types import TensorType

REFUSALS: Final = (RuntimeError, TypeError, ValueError, IndexError)
"""What ttnn raises for a call that it does not take."""

_MEMORY = re.compile(
    r"Not enough space to allocate (?P<asked>\d+) B (?P<kind>\w+) buffer across (?P<banks>\d+) banks, where each bank "
    r"needs to store (?P<each>\d+) B, but bank size is (?P<size>\d+) B \(allocated: \d+ B, free: (?P<free>\d+) B"
)
_BUFFERS = re.compile(
    r"circular buffers .*?(?:grow to (?P<asked>\d+) B which is beyond max L1 size of (?P<limit>\d+) B|clash with L1 "
    r"buffers .*?allocated at (?P<free>\d+) and static circular buffer region ends at (?P<end>\d+))",
    re.DOTALL,
)
_LONGEST = 600
"""Characters of ttnn's own words that are shown."""
_LESS = "Compile for shorter lengths or a smaller batch"


class Refused(DeviceError):
    """ttnn refused an op; the message says which, where it came from and why."""


def reason(error: BaseException) -> str:
    """What ttnn says in one line: what it found, and the condition that was not met."""
    text = str(error)
    if out := _out_of_memory(text):
        return f"{out}. {_LESS}"
    lines = [line.strip() for line in text.split("backtrace:", maxsplit=1)[0].splitlines()]
    said = [line for line in lines if line and line != "info:"]
    if not said:
        return type(error).__name__
    if said[0].startswith("TT_FATAL") or said[0].startswith("TT_THROW"):
        condition = said[0].split(": ", 1)[-1]
        said = [*said[1:], f"({condition})"] if condition not in ("false", "tt::exception") else said[1:] or said
    if isinstance(error, TypeError) and "incompatible function arguments" in text:
        return f"{said[0]} The installed ttnn takes other arguments than those that the plan was made for"
    out = " ".join(said)
    return out if len(out) < _LONGEST else out[:_LONGEST] + " ..."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an op was refused for lack of memory."""
    return _out_of_memory(str(error)) is not None


@contextmanager
def placing(type: TensorType) -> Iterator[None]:
    """Turn what ttnn says when a tensor cannot be placed into a ``DeviceError``."""
    try:
        yield
    except REFUSALS as error:
        raise DeviceError(f"ttnn refused to place a tensor {type}: {reason(error)}") from None


def refusal(graph: str, node: Node, error: BaseException) -> Refused:
    """The error for an op that ttnn refused."""
    origins = ", ".join(map(str, node.origins)) or "no origin"
    operands = ", ".join(f"{name}={value.type}" for name, value in zip(node.names, node.operands, strict=True))
    return Refused(f"ttnn refused {node.op.name}({operands}) in graph {graph}, from {origins}: {reason(error)}")


def _out_of_memory(text: str) -> str | None:
    """What was asked and what is free, where ``text`` says that there is too little memory."""
    if memory := _MEMORY.search(text):
        kind, place = memory["kind"], "core" if memory["kind"] == "L1" else "bank"
        asked, each, free, size = (_bytes(int(memory[name])) for name in ("asked", "each", "free", "size"))
        return f"out of {kind}: it asks for {asked}, {each} a {place}, where {free} of {size} are free"
    if buffers := _BUFFERS.search(text):
        asked, free = (_bytes(int(buffers[a] or buffers[b])) for a, b in (("asked", "end"), ("limit", "free")))
        return f"out of L1: its circular buffers take {asked} a core, where {free} are free"
    return None


def _bytes(count: int) -> str:
    """A number of bytes in the largest unit that leaves it above one."""
    power = max(0, min(3, (count.bit_length() - 1) // 10))
    return f"{count / 1024**power:.{min(power, 1)}f} {('B', 'KiB', 'MiB', 'GiB')[power]}"
