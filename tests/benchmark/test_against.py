"""Two revisions side by side: figures from tasks that are not run, and one task of a revision that is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from compiler.benchmark import against, tasks
from compiler.benchmark.against import FIGURES, Compared, Verdict, compare, tree_of
from compiler.errors import InvalidArgument

MADE: dict[str, dict[str, Any]] = {
    "step": {"ours": [1e-2], "eager": [9.0]},
    "speech": {"ours": [3.0], "theirs": [6.0]},
    "vocoder": {"ours": [0.5], "uncut": [0.4]},
    "sound": {"ours": [4.0], "first": [0.5]},
    "compiling": {"step": 2.0, "all": 6.0, "further": 1.5, "exact": 1.0, "another": 0.125},
    "layers": {"once": [6.0], "twice": [12.0]},
    "memory": {"growth": 3e8, "weights": 6e8},
}


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ((2.0, 3.0), (1.0, 1.9), Verdict.WORSE),
        ((2.0, 3.0), (1.0, 2.0), Verdict.OVERLAP),
        ((1.0, 3.0), (2.0, 2.5), Verdict.OVERLAP),
        ((1.0, 1.9), (2.0, 3.0), Verdict.BETTER),
    ],
)
def test_ranges_that_lie_apart_decide(ours: tuple[float, ...], theirs: tuple[float, ...], verdict: Verdict) -> None:
    row = Compared(FIGURES[0], ours, theirs)
    assert row.verdict is verdict
    assert against.worse([row]) == ([row] if verdict is Verdict.WORSE else [])


def test_what_was_nothing_has_no_ratio() -> None:
    """Memory need not have grown."""
    (row,) = against.as_dicts([Compared(FIGURES[-1], (1.0,), (0.0,))])
    assert (row["ratio"], row["verdict"]) == (None, Verdict.WORSE.value)
    against.table("HEAD", [Compared(FIGURES[-1], (1.0,), (0.0,))])


def test_the_two_take_turns_and_each_round_begins_with_the_other() -> None:
    ran: list[str] = []

    def side(name: str) -> against.Task:
        return lambda task: ran.append(f"{name} {task}") or MADE[task]  # type: ignore[func-returns-value]

    made = compare(side("this"), side("that"), ["speech", "memory"], 3, lambda _: None)
    speech = ["this speech", "that speech", "that speech", "this speech", "this speech", "that speech"]
    assert ran == [*speech, *(each.replace("speech", "memory") for each in speech)]
    assert [(row.figure.name, row.ours, row.figure.unit) for row in made] == [
        ("generate_speech", (3.0,) * 3, "s"),
        ("growth of peak memory, compiling all graphs", (300.0,) * 3, "MB"),
    ]


def test_every_figure_is_one_that_a_task_prints() -> None:
    made = compare(MADE.__getitem__, MADE.__getitem__, progress=lambda _: None, rounds=1)
    assert [row.figure for row in made] == list(FIGURES)
    assert {row.verdict for row in made} == {Verdict.OVERLAP}
    assert [row.failed for row in compare(MADE.__getitem__, lambda _: {}, ["memory"], 1, lambda _: None)] == [
        "that revision does not measure it"
    ]


def test_a_task_that_an_older_revision_lacks_is_not_measured_and_the_others_are(
    monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    with tree_of("HEAD", repository) as tree:
        (tree / "compiler" / "benchmark" / "__main__.py").write_text(
            'import sys\nprint({"memory": \'{"growth": 3e8}\'}[sys.argv[1]])\n'
        )
        rows = compare(MADE.__getitem__, lambda task: tasks.run(task, 1, tree), ["sound", "memory"], 1, lambda _: None)
    lacks = "that revision does not measure it"
    assert [(row.figure.task, row.failed) for row in rows] == [
        ("vocoder", lacks),
        ("sound", lacks),
        ("sound", lacks),
        ("memory", ""),
    ]
    from compiler.cli.app import app

    monkeypatch.setattr(against, "against", lambda *_: rows)
    assert CliRunner().invoke(app, ["bench", "--against", "HEAD~1"]).exit_code == 0


def test_a_task_that_fails_says_whose_it_was() -> None:
    def fails(_: str) -> dict[str, Any]:
        raise tasks.TaskFailed("MemoryError")

    (row,) = compare(MADE.__getitem__, fails, ["speech"], 2, lambda _: None)
    assert (row.verdict, row.failed) == (None, "that revision: MemoryError")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose first commit has no benchmark, and whose second has one of one task."""

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "README").write_text("nothing")
    git("add", ".")
    git("commit", "-qm", "first")
    git("tag", "first")
    folder = tmp_path / "compiler" / "benchmark"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text('import json, sys\nprint(json.dumps({"ours": [41.0 + int(sys.argv[2])]}))\n')
    git("add", ".")
    git("commit", "-qm", "second")
    (folder / "__main__.py").write_text("raise SystemExit('what is not committed does not run')\n")
    return tmp_path


def test_the_task_of_a_revision_is_run_from_its_own_tree(repository: Path) -> None:
    with tree_of("HEAD", repository) as tree:
        assert tasks.run("speech", 1, tree) == {"ours": [42.0]}
    assert not tree.exists()


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("first", "--against first: that revision has no benchmark yet: name a later one"),
        ("nowhere", "--against nowhere: git finds no such commit in "),
        ("--output=x", "--against --output=x: git finds no such commit in "),
    ],
)
def test_refused(repository: Path, revision: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message), tree_of(revision, repository):
        pass
    assert not list(repository.glob("x*"))


@pytest.mark.parametrize(("theirs", "status"), [(2.0, 1), (4.0, 0)])
def test_the_command_fails_where_this_is_worse(monkeypatch: pytest.MonkeyPatch, theirs: float, status: int) -> None:
    from compiler.cli.app import app

    row = Compared(FIGURES[1], (3.0, 3.5), (theirs, theirs + 0.2))
    monkeypatch.setattr(against, "against", lambda *_: [row])
    made = CliRunner().invoke(app, ["bench", "--against", "HEAD~1", "--json"])
    assert made.exit_code == status
    (said,) = json.loads(made.stdout)
    assert said["verdict"] == ("worse" if status else "better") and said["that"] == [theirs, theirs + 0.2]
