"""Faults that are planted on purpose, to see that a test catches them: their list, and one planted in this process."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

OURS = ("compiler", "lowering", "passes")
LIST = Path(__file__).with_suffix(".toml")
"""What ``python -m scripts.faults`` plants."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``before``, which ``file`` has exactly once, becomes ``after``; ``test``, a node of pytest, fails then.

    ``area`` is the part of the project that it is a fault of.
    """

    area: str
    name: str
    file: str
    before: str
    after: str
    test: str

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").replace("/", ".")

    def planted_in(self, source: str) -> str:
        """The text of the file with the fault. Raises ``LookupError`` where the fault must be written anew."""
        if (found := source.count(self.before)) != 1:
            raise LookupError(f"{self.file} has {self.before!r} {found} times, and {said(self)} is for 1: {ANEW}")
        return source.replace(self.before, self.after)


ANEW = "write the fault anew"


def said(fault: Fault) -> str:
    return f"the fault {fault.name!r}"


def listed(file: Path = LIST) -> tuple[Fault, ...]:
    """The faults of the list, in its order."""
    areas = tomllib.loads(file.read_text(encoding="utf-8"))
    return tuple(Fault(area, **fault) for area, faults in areas.items() for fault in faults)


@contextmanager
def planted(name: str, before: str, after: str) -> Iterator[None]:
    """Run the block with ``after`` in place of ``before`` in the source of the module ``name``.

    The changed source is run in a module beside the real one. What it defines stands in for the real definitions
    wherever our packages hold these, and objects that exist already go on with it. The file stays as it is. Raises
    ``LookupError`` unless ``before`` is found exactly once: then the fault must be written anew.
    """
    module = import_module(name)
    file = str(module.__file__)
    source = Path(file).read_text()
    if (found := source.count(before)) != 1:
        raise LookupError(f"{name} has {before!r} {found} times, and the fault is for 1: {ANEW}")
    faulty = ModuleType(name)
    faulty.__file__ = file
    exec(compile(source.replace(before, after), f"{file} with a fault", "exec"), faulty.__dict__)
    swapped = [
        (holder, key, value)
        for holder in [m for n, m in sys.modules.items() if n.split(".")[0] in OURS and m is not None]
        for key, value in vars(holder).items()
        if key in vars(faulty) and getattr(value, "__module__", None) == name and vars(module).get(key) is value
    ]
    try:
        for holder, key, _ in swapped:
            setattr(holder, key, vars(faulty)[key])
        yield
    finally:
        for holder, key, value in swapped:
            setattr(holder, key, value)
