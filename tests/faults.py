"""Faults that are planted on purpose, to see that a test catches them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

OURS = ("compiler", "lowering", "passes")


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
        raise LookupError(f"{name} has {before!r} {found} times, and the fault is for 1: write the fault anew")
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
