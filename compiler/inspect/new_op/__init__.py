"""Write what a new lowering begins with into a checkout: the op, its rule, its cases, and its row in the docs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

import compiler
from compiler.errors import InvalidArgument
from compiler.inspect import numerics
from compiler.inspect.emit.lines import quoted
from compiler.inspect.new_op import edits
from compiler.inspect.new_op.described import Attribute, NewOp, described
from compiler.output import write_all

LEFT_OUT = "not read in the kernel yet"
"""What the row of a new op says of the device, until somebody has looked."""
DIALECT, RULES, CASES = "compiler/dialects/ttnn", "lowering", "tests/lowering/cases"
STAND_IN, PAGE = "tests/device/standin/computing.py", "docs/ops.md"
ROOT = Path(compiler.__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What is to be written for an op: the text of each file, by its path in the checkout, and what each is for."""

    op: NewOp
    files: Mapping[str, str]
    purposes: Mapping[str, str]

    @property
    def has_stand_in(self) -> bool:
        return STAND_IN in self.files


def check_checkout(root: Path = ROOT) -> None:
    """Raise ``InvalidArgument`` where the package is not in a checkout, whose tests and pages there are to write to."""
    missing = [name for name in (f"{CASES}/__init__.py", STAND_IN, PAGE) if not (root / name).is_file()]
    if missing:
        raise InvalidArgument(
            f"new-op writes into a checkout of this project, and {str(root)!r}, where the package is, has no "
            f"{missing[0]}: clone the project, run `make setup` and then .venv/bin/python -m compiler new-op there"
        )


def skeleton(name: str, aten: str | None = None, root: Path = ROOT) -> Skeleton:
    """Make the files for ``ttnn.<name>``; nothing is written. Raises ``InvalidArgument``, see :func:`described`."""
    check_checkout(root)
    op = described(name, aten)
    files = {
        f"{DIALECT}/{op.name}.py": _op(op),
        f"{RULES}/{op.name}.py": _rule(op),
        f"{CASES}/{op.name}.py": _cases(op),
    }
    purposes = dict(zip(files, ("the op: what it means", "its rule", "its cases"), strict=True))
    if taken := [file for file in files if (root / file).exists()]:
        raise InvalidArgument(f"{taken[0]} is there already: name another op, or delete the file")

    def edited(file: str, text: str, purpose: str) -> None:
        files[file], purposes[file] = text, purpose

    def read(file: str) -> str:
        return (root / file).read_text(encoding="utf-8")

    for folder in (DIALECT, RULES):
        file = f"{folder}/__init__.py"
        edited(file, edits.with_module(read(file), op.name), "imports it")
    file, constant = f"{CASES}/__init__.py", op.name.upper()
    edited(file, edits.with_cases(read(file), op.name, constant), f"has {constant} among the cases")
    stand_in = _stand_in(op)
    if stand_in is not None:
        edited(STAND_IN, edits.with_entry(read(STAND_IN), stand_in), "computes it in the place of a device")
    row = (f"`{op.path}`", "the result", LEFT_OUT, "not measured")
    edited(PAGE, numerics.to_markdown(row, f"aten.{op.overload}"), "has a row of it")
    return Skeleton(op, files, purposes)


def write(made: Skeleton, root: Path = ROOT) -> None:
    """Write all files of a skeleton, or none. Raises ``CompilerError`` where one cannot be written."""
    write_all({root / file: text.encode() for file, text in made.files.items()})


def _op(op: NewOp) -> str:
    names = [f"{ours}: Tensor" for _, ours in op.operands]
    given = [ours for _, ours in op.operands] + [f"{each.name}={each.name}" for each in op.taken]
    parameters = names + [f"{each.name}: {each.type}" for each in op.taken]
    return _rendered("op", op=op, left_out=LEFT_OUT, parameters=parameters, call=f"{op.function}({', '.join(given)})")


def _rule(op: NewOp) -> str:
    return _rendered("rule", op=op, reads={each.name: _read(each) for each in op.taken})


def _read(attribute: Attribute) -> str:
    given = f'"{attribute.name}"' if attribute.default is None else f'"{attribute.name}", {attribute.default}'
    read = f"node.attribute({given})"
    return f"context.scalar({read})" if attribute.type == "float" else read


def _cases(op: NewOp) -> str:
    plain = "".join(f", {each.name}={each.example}" for each in op.attributes if each.default is None)
    cases = [(op.name, "5, 33", plain), (f"{op.name} of a batch", "2, 7, 16", plain)]
    cases += [
        (f"{op.name} with another {each.name}", "4, 20", f"{plain}, {each.name}={each.example}")
        for each in op.taken
        if each.default is not None
    ]
    numbers = "s.given(s.uniform({shape}, low=0.5, high=4))" if op.positive else "s.x({shape})"
    return _rendered("cases", op=op, cases=cases, tensor=lambda shape: numbers.format(shape=shape))


def _stand_in(op: NewOp) -> str | None:
    """The op's line among those that the stand-in computes element by element; none for another kind."""
    names = [ours for _, ours in op.operands]
    if names == ["input_tensor"]:
        return f'"{op.name}": unary({", ".join([op.function, *(quoted(each.name) for each in op.taken)])}),'
    if names == ["input_tensor_a", "input_tensor_b"] and not op.taken:
        return f'"{op.name}": binary({op.function}),'
    return None


def _rendered(template: str, **values: object) -> str:
    text = resources.files(__package__).joinpath(f"{template}.py.jinja").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(text).render(values)


def next_steps(made: Skeleton) -> list[str]:
    """Say what is left to do, and which tests tell."""
    op, pytest = made.op, ".venv/bin/python -m pytest -q"
    dialect, rule, cases = list(made.files)[:3]
    refused = f"; {', '.join(each.name for each in op.refused)} other than the default is refused" if op.refused else ""
    return [
        f"look at {dialect}: is {op.function} what the device computes?",
        f"look at {rule}{refused}",
        f"look at {cases}: are these numbers that the op is for?",
        *(
            []
            if made.has_stand_in
            else [f"write {op.name} in tests/device/standin, which computes what a device would"]
        ),
        f"{pytest} tests/device/test_calls.py --update-golden",
        f"{pytest} tests/lowering tests/device/test_standin.py tests/device/test_ops.py -k '[{op.name} or {op.path}'",
        "make test",
        "all of it: docs/adding_a_lowering.md",
    ]
