"""Lines put into files that are there: an import, an item of a list, in the order that these files keep."""

from __future__ import annotations

import re
from bisect import bisect

from compiler.errors import InvalidArgument


def with_module(text: str, name: str) -> str:
    """Import the module ``name`` in a package that imports all of its modules, and lists them in ``__all__``."""
    for opening, line in ((r"^from [\w.]+ import \(\n", f"    {name},"), (r"^__all__ = \[\n", f'    "{name}",')):
        text = _inserted(text, opening, line, in_order=True)
    return text


def with_cases(text: str, module: str, constant: str) -> str:
    """Import a module's tuple of cases, and put its cases behind the others."""
    line = f"from tests.lowering.cases.{module} import {constant}"
    imports = re.findall(r"^from tests\.lowering\.cases\..*$", text, re.MULTILINE)
    if not imports:
        raise _unexpected("imports of cases")
    at = bisect(imports, line)
    before = imports[at - 1] if at else imports[0]
    pair = f"{before}\n{line}" if at else f"{line}\n{before}"
    return _inserted(text.replace(before, pair, 1), r"^CASES: .* = \(\n", f"    *{constant},", in_order=False)


def with_entry(text: str, entry: str) -> str:
    """Put an entry behind those of the dictionary of functions that work element by element."""
    return _inserted(text, r"^ELEMENTWISE = \{\n", f"    {entry}", in_order=False)


def _inserted(text: str, opening: str, line: str, in_order: bool) -> str:
    """A line among those between ``opening`` and the bracket that closes it."""
    found = re.search(f"({opening})((?:    .*\n)+)(?=[)\\]}}])", text, re.MULTILINE)
    if found is None:
        raise _unexpected(opening)
    lines = found[2].splitlines()
    lines.insert(bisect(lines, line) if in_order else len(lines), line)
    return text[: found.start(2)] + "\n".join(lines) + "\n" + text[found.end(2) :]


def _unexpected(what: str) -> InvalidArgument:
    return InvalidArgument(f"a file of the checkout has no {what!r} where new-op puts a line: write it by hand")
