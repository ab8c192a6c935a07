"""What docs/adding_a_lowering.md says is done in a copy of the tree, word for word: the new op's tests pass there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import compiler
from compiler.cli import app
from compiler.errors import CompilerError, InvalidArgument
from compiler.inspect import new_op
from compiler.output import write_all
from tests import forked

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "adding_a_lowering.md").read_text()
PACKAGES = ("compiler", "lowering", "passes", "scripts", "tests", "docs")
TESTS = ("tests/lowering", "tests/device/test_standin.py", "tests/test_docs.py", "-k")


THEN = """
import contextlib, sys
import pytest
import torch
from compiler.cli import app

with open("docs/ops.md", "w") as page, contextlib.redirect_stdout(page):
    app(["ops", "--markdown"], standalone_mode=False)
*tests, model = sys.argv[1:]
if code := pytest.main(["-q", "-p", "no:cacheprovider", *tests]):
    sys.exit(code)
print("now the model", flush=True)
exec(model, {})
"""
"""What the page says to run once all is written, in one process, as imports take seconds: the table, tests, a model."""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def python(beginning: str) -> str:
    """The one block of Python of the page that begins so."""
    (found,) = [block for block in blocks("python") if block.startswith(beginning)]
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A copy of the checkout."""
    for name in PACKAGES:
        left_out = shutil.ignore_patterns("__pycache__", "voices")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out)
    (tmp_path / "compiler/speecht5/voices").symlink_to(ROOT / "compiler/speecht5/voices")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    yield tmp_path


def run(tree: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    start = subprocess.run if "ruff" in arguments else forked.run
    done = start([sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_page_leads_to_an_op_that_works(tree: Path) -> None:
    command, said = next(b for b in blocks("console") if "new-op" in b).split("\n", 1)
    assert command == "$ .venv/bin/python -m compiler new-op elu"
    assert run(tree, "-m", "compiler", "new-op", "elu").replace(str(tree), "CHECKOUT") == said
    assert python("@lowers") in (tree / "lowering/elu.py").read_text()
    assert python("ELU = (") in (tree / "tests/lowering/cases/elu.py").read_text()

    file, entry = python("# compiler/dialects").split("\n", 1)
    (tree / file.removeprefix("# ")).write_text(entry)
    where, line = python("# in tests/lowering/test_refused.py").split("\n", 1)
    refused, _, opening = where.removeprefix("# in ").partition(", behind ")
    text = (tree / refused).read_text()
    (begin,) = [row for row in text.splitlines() if row.startswith(opening)]
    (tree / refused).write_text(text.replace(begin, f"{begin}\n{line.rstrip()}"))

    lint = ["-m", "ruff", "check", "--no-cache"], ["-m", "ruff", "format", "--check", "--no-cache"]
    for each in lint:
        run(tree, *each, "compiler", "lowering", "tests")
    known = "[elu or ttnn.elu or aten.elu or has_a_case or page_of_ops"
    passed, _, compiled = run(tree, "-c", THEN, *TESTS, known, python("import torch")).partition("now the model\n")
    counted = re.search(r"(\d+) passed", passed)
    assert counted is not None and int(counted[1]) > 40, passed
    assert compiled == "", "the model whose op was missing is compiled"


# --- the command ------------------------------------------------------------------------------------------------------


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["new-op", *arguments])


REFUSED = {
    "relu": "ttnn.relu is in the table already: compiler/dialects/ttnn/elementwise.py",
    "a b": "'a b' is no name of an op: ttnn's name of it is expected",
    "lambda": "'lambda' is no name of an op",
    "../elu": "'../elu' is no name of an op",
    "Elu": "'Elu' is no name of an op",
    "elun": "ATen has no op 'elun': name the one to lower with --aten, as in --aten elu.default; ATen has elu and ",
    "arctan": "ttnn 0.81.1 has no ttnn.arctan",
    "pow": "aten.pow has no overload 'default': name one with --aten, of pow.Tensor_Tensor",
    "where": "aten.where.default does not return one tensor",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_will_not_do_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_op, "write", lambda _: pytest.fail("nothing may be written"))
    done = asked(name)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {REFUSED[name]}")


@pytest.mark.parametrize(
    ("aten", "said"),
    [
        ("relu.default", "aten.relu.default has a rule already: look for it in lowering/\n"),
        (
            "atan2.default",
            "aten.atan2.default is not ttnn.elu alone: torch's takes 2 tensors (self, other), and ttnn's 1",
        ),
        ("elu.out", "aten.elu has no overload"),
    ],
)
def test_an_op_of_torch_that_will_not_do_is_refused(aten: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_op, "write", lambda _: pytest.fail("nothing may be written"))
    done = asked("elu", "--aten", aten)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {said}")


def test_without_a_checkout_it_says_where_to_go(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"new-op writes into a checkout of this project, and .* has no tests/"):
        new_op.skeleton("elu", root=tmp_path)


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    for name in (f"{new_op.CASES}/__init__.py", new_op.STAND_IN, new_op.PAGE, "lowering/elu.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text() if (ROOT / name).exists() else "")
    with pytest.raises(InvalidArgument, match=r"^lowering/elu.py is there already"):
        new_op.skeleton("elu", root=tmp_path)


@pytest.mark.parametrize("name", ["elu", "threshold", "celu", "minimum", "log"])
def test_what_is_written_is_python_and_names_the_op(name: str) -> None:
    """Numbers with and without defaults, two tensors, positive numbers alone, and a number of the op's own name."""
    made = new_op.skeleton(name)
    for file, text in made.files.items():
        if file.endswith(".py"):
            compile(text, file, "exec")
        assert name in text
    assert len(made.files) == 8
    assert Path(compiler.__file__).parent.parent == new_op.ROOT


def test_all_files_are_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("before")
    real = os.replace

    def full(source: Path, target: str) -> None:
        if target.endswith("last") and not broken:
            broken.append(target)
            raise OSError(28, "No space left on device")
        real(source, target)

    broken: list[str] = []
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CompilerError, match="could not be written: No space left"):
        write_all({old: b"after", new: b"new", tmp_path / "last": b"x"})
    assert [path.name for path in tmp_path.iterdir()] == ["old"] and old.read_text() == "before"
    write_all({old: b"after", new: b"new"})
    assert (old.read_text(), new.read_text()) == ("after", "new")


def test_the_ops_that_are_suggested_are_atens() -> None:
    """And not classes and functions that torch has beside them, such as ``UnionType``."""
    with pytest.raises(InvalidArgument, match="ATen has no op 'nope'") as refusal:
        new_op.skeleton("elu", "nope")
    suggested = str(refusal.value).partition("; ATen has ")[2].split(" and ")
    assert suggested and all(hasattr(torch.ops.aten, name) for name in suggested), suggested
