"""The list of faults is well formed, and planting one does what it says. ``make faults`` plants them all."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from scripts import faults as command
from tests.faults import Fault, listed, planted

ROOT = Path(__file__).parent.parent
FAULTS = listed()
by_name = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@by_name
def test_its_text_is_found_once(fault: Fault) -> None:
    source = (ROOT / fault.file).read_text()
    assert fault.planted_in(source) != source


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@by_name
def test_its_test_is_there(fault: Fault) -> None:
    """Its function is. Whether a case of that name is too, the command finds out: it runs all tests without a fault."""
    file, _, test = fault.test.partition("::")
    assert (ROOT / file).is_file()
    assert not test or test.partition("[")[0] in functions(file)


def test_names_are_distinct() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@by_name
def test_the_page_has_it(fault: Fault) -> None:
    row = command.cells(fault)
    assert f"\n| {' | '.join(row)} |" in (ROOT / "docs" / "faults.md").read_text(), "run `make faults`"


FAULT = Fault(
    "text", "a word is longer", "compiler/speecht5/pieces.py", "SHOWN = 20", "SHOWN = 30", "tests/test_faults.py"
)


def test_a_fault_that_finds_nothing_to_change_is_an_error() -> None:
    for before in ("no such text", "return"):
        with pytest.raises(LookupError, match="write the fault anew"):
            Fault("text", "x", FAULT.file, before, "", "").planted_in((ROOT / FAULT.file).read_text())
        with pytest.raises(LookupError, match="write the fault anew"), planted(FAULT.module, before, ""):
            pass


@pytest.mark.parametrize(
    ("code", "ran", "failed", "said"),
    [
        (1, ("x",), ("x",), "caught"),
        (0, ("x",), (), "SURVIVED"),
        (0, (), (), "does not run"),  # skipped
        (2, (), (), "does not run"),  # it cannot be imported
        (4, (), (), "does not run"),  # there is no such test
        (None, ("x",), (), "hangs"),
    ],
)
def test_only_a_test_that_fails_catches(
    code: int | None, ran: tuple[str, ...], failed: tuple[str, ...], said: str
) -> None:
    outcome = command.Outcome(command.Job(("x",), FAULT), code, ran, failed, 1.0, "")
    assert outcome.said == said
    assert command.is_wrong(outcome) == (said != "caught")


@pytest.mark.parametrize(
    ("code", "ran", "wrong"),
    [(0, ("a.py::b[1]", "c.py::d"), False), (0, ("a.py::b[1]",), True), (1, ("a.py::b[1]", "c.py::d"), True)],
)
def test_without_a_fault_all_tests_must_run_and_pass(code: int, ran: tuple[str, ...], wrong: bool) -> None:
    outcome = command.Outcome(command.Job(("a.py::b", "c.py")), code, ran, (), 1.0, "")
    assert command.is_wrong(outcome) == wrong


@pytest.mark.slow
def test_a_planted_fault_is_caught_and_another_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes of their own, in a tree with one module and one test; the tree itself stays as it is."""
    (tmp_path / "compiler").mkdir()
    (tmp_path / "compiler" / "__init__.py").write_text("TWO = 2\nTHREE = 3\n")
    (tmp_path / "test_two.py").write_text("from compiler import TWO\n\n\ndef test_two():\n    assert TWO == 2\n")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(command, "OURS", ("compiler", "test_two"))
    faults = [
        Fault("a", name, "compiler/__init__.py", before, after, "test_two.py")
        for name, before, after in (("two", "= 2", "= 3"), ("three", "= 3", "= 4"), ("broken", "TWO = 2", "TWO ="))
    ]
    jobs = [command.Job(("test_two.py",)), *(command.Job((fault.test,), fault) for fault in faults)]
    outcomes = list(command.run(jobs, [command.copied(tmp_path / "copy", [*tmp_path.rglob("*.py")])]))
    assert [outcome.said for outcome in outcomes] == ["SURVIVED", "caught", "SURVIVED", "does not run"]
    assert [command.is_wrong(outcome) for outcome in outcomes] == [False, False, True, True]
    assert (tmp_path / "compiler" / "__init__.py").read_text() == "TWO = 2\nTHREE = 3\n"
