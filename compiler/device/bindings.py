"""What the bindings of the installed ttnn take, as nanobind writes it down: asked without a device."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import reduce
from importlib import import_module
from typing import Any

from compiler.device.mock import QUIET
from compiler.device.surroundings import survivable
from compiler.errors import InvalidArgument
from compiler.versions import SUPPORTED, require

_PARAMETER = re.compile(r"(?:^|, )(\w+): (?!:)")
TENSOR = "ttnn._ttnn.tensor.Tensor"


@dataclass(frozen=True, slots=True)
class Binding:
    """One overload of a callable: its parameters with their types, as text, and those of them without a default."""

    parameters: Mapping[str, str]
    required: frozenset[str]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The parameters that must be tensors, in order."""
        return tuple(name for name, type in self.parameters.items() if type == TENSOR and name in self.required)


def bindings(path: str) -> tuple[Binding, ...]:
    """Return the overloads of what is at a dotted path, as in ``ttnn.elu``.

    Raises ``InvalidArgument`` where ttnn has nothing there, or nothing with a signature.
    """
    module = _ttnn()
    names = path.split(".")[1:]
    try:
        found = reduce(getattr, names, module)
    except AttributeError:
        known = dir(reduce(lambda held, name: getattr(held, name, held), names[:-1], module))
        near = get_close_matches(names[-1], known, 3)
        said = f": did you mean {' or '.join(near)}?" if near else ""
        raise InvalidArgument(f"ttnn {SUPPORTED['ttnn'].removeprefix('==')} has no {path}{said}") from None
    function = getattr(found, "function", found)
    function = function if hasattr(function, "__nb_signature__") else type(function).__call__
    texts = getattr(function, "__nb_signature__", None)
    if texts is None:
        raise InvalidArgument(f"{path} is no op of ttnn that a graph could call: it has no signature")
    return tuple(parsed(text) for text, *_ in texts)


def parsed(text: str) -> Binding:
    """Read ``def name(self, a: T, *, b: int = 0) -> R``, where types may hold ``::`` and commas."""
    inner = text[text.index("(") + 1 : text.rindex(") ->")]
    found = list(_PARAMETER.finditer(inner))
    ends = [match.start() for match in found[1:]] + [len(inner)]
    pieces = {match[1]: inner[match.end() : end] for match, end in zip(found, ends, strict=True)}
    types = {name: piece.partition(" = ")[0].removesuffix(", *") for name, piece in pieces.items()}
    return Binding(types, frozenset(name for name, piece in pieces.items() if " = " not in piece))


def _ttnn() -> Any:
    """Import ttnn, which prints its configuration unless it is told to be quiet."""
    require("ttnn")
    lent = {name: level for name, level in QUIET.items() if name not in os.environ}
    os.environ.update(lent)
    try:
        with survivable():
            return import_module("ttnn")
    finally:
        for name in lent:
            del os.environ[name]
