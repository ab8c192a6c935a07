"""What the host computes, as torch is typed: the reference semantics of ops whose tensors never leave it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compiler.errors import UnsupportedOperation
from compiler.inspect.emit.statements import HOST

Arguments = Mapping[str, str]
"""Operands and attributes by parameter, as typed."""


def _binary(sign: str, second: tuple[str, ...] = ("input_tensor_b", "input_b", "value")) -> Callable[[Arguments], str]:
    def typed(given: Arguments) -> str:
        other = next(given[name] for name in second if name in given)
        return f"{given['input_tensor_a']} {sign} {other}"

    return typed


def _largest(given: Arguments) -> str:
    other = next(given[name] for name in ("input_tensor_b", "input_b") if name in given)
    return f"torch.clamp({given['input_tensor_a']}, min={other})"


_COMPUTED: Mapping[str, Callable[[Arguments], str]] = {
    "ttnn.add": _binary("+"),
    "ttnn.subtract": _binary("-"),
    "ttnn.multiply": _binary("*"),
    "ttnn.divide": _binary("/"),
    "ttnn.rsub": lambda given: f"{given.get('input_b') or given['input_tensor_b']} - {given['input_tensor_a']}",
    "ttnn.sum": lambda given: f"{given['input_tensor']}.sum(dim={given['dim']}, keepdim={given.get('keepdim', False)})",
    "ttnn.sqrt": lambda given: f"{given['input_tensor']}.sqrt()",
    "ttnn.maximum": _largest,
}
"""Ops that compute: their results are rounded to bfloat16."""
_MOVED: Mapping[str, Callable[[Arguments], str]] = {
    "ttnn.reshape": lambda given: f"{given['input_tensor']}.reshape({_numbers(given['shape'])})",
    "ttnn.permute": lambda given: f"{given['input_tensor']}.permute({_numbers(given['dims'])})",
    "ttnn.expand": lambda given: f"{given['input_tensor']}.expand({_numbers(given['output_shape'])})",
    "ttnn.typecast": lambda given: f"{given['input_tensor']}.long()",
}
"""Ops that move elements, or change the kind of number."""


def _numbers(typed: str) -> str:
    return typed.strip("[]")


def typed_on_host(path: str, given: Arguments, whole: bool) -> str:
    """Type what the host computes for a statement. ``whole``: the result is of whole numbers, and is not rounded.

    Raises ``UnsupportedOperation`` for an op that this module does not know.
    """
    name = path.removeprefix(HOST)
    if name in _MOVED:
        return _MOVED[name](given)
    if name not in _COMPUTED:
        known = ", ".join(sorted({*_MOVED, *_COMPUTED}))
        raise UnsupportedOperation(f"{name} runs on the host, and no script is written for it there: known are {known}")
    text = _COMPUTED[name](given)
    return text if whole else f"rounded({text})"
