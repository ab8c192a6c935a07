"""What ttnn's errors say, without the backtrace of its C++ and with what to do."""

from __future__ import annotations

import re

from compiler.errors import DeviceError
from compiler.graph import Node

_MEMORY = re.compile(
    r"Not enough space to allocate (?P<asked>\d+) B (?P<kind>\w+) buffer across (?P<banks>\d+) banks, where each bank "
    r"needs to store (?P<each>\d+) B, but bank size is (?P<size>\d+) B \(allocated: \d+ B, free: (?P<free>\d+) B"
)
_BUFFERS = re.compile(r"circular buffers .*?(?:grow to|clash with L1 buffers).*", re.IGNORECASE)
_LESS = "Compile for shorter texts or fewer decoder steps, or for a smaller batch"


class Refused(DeviceError):
    """ttnn refused an op; the message says which, where it came from and why."""


def reason(error: BaseException) -> str:
    """What ttnn says in one line: what it found, and the condition that was not met."""
    text = str(error)
    memory = _MEMORY.search(text)
    if memory:
        kind, place = memory["kind"], "core" if memory["kind"] == "L1" else "bank"
        asked, each, free, size = (_bytes(int(memory[name])) for name in ("asked", "each", "free", "size"))
        return f"out of {kind}: it asks for {asked}, {each} a {place}, where {free} of {size} are free. {_LESS}"
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
    out = out if len(out) < 600 else out[:600] + " ..."
    return f"{out}. {_LESS}" if _BUFFERS.search(out) else out


def refusal(graph: str, node: Node, error: BaseException) -> Refused:
    """The error for an op that ttnn refused."""
    origins = ", ".join(map(str, node.origins)) or "no origin"
    operands = ", ".join(f"{name}={value.type}" for name, value in zip(node.names, node.operands, strict=True))
    return Refused(f"ttnn refused {node.op.name}({operands}) in graph {graph}, from {origins}: {reason(error)}")


def _bytes(count: int) -> str:
    """A number of bytes in the largest unit that leaves it above one."""
    power = max(0, min(3, (count.bit_length() - 1) // 10))
    return f"{count / 1024**power:.{min(power, 1)}f} {('B', 'KiB', 'MiB', 'GiB')[power]}"
