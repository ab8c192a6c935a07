"""The table of the benchmark, from tasks that are not run; and one task that is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.benchmark import page, tasks
from compiler.benchmark.rows import GROUPS, Row, measure
from compiler.benchmark.timing import Ratio
from compiler.errors import InvalidArgument
from compiler.inspect.cost_report import GraphCost, graph_cost
from compiler.speecht5.budgets import Budget
from compiler.speecht5.plans import PlanCost
from tests.compiler.test_cost import two_readers

MADE: dict[str, dict[str, Any]] = {
    "step": {"ours": [1e-2, 2e-2], "eager": [2e-2, 4e-2], "sweep": [5e-3, 1e-2], "failed": {"compiled": "no compiler"}},
    "speech": {"ours": [3.0], "theirs": [6.0], "error": 1e-6},
    "vocoder": {"ours": [0.5], "uncut": [0.4], "eager": [1.0], "compiled": [0.25], "error": 1e-6, "failed": {}},
    "sound": {"ours": [4.0], "first": [0.5], "theirs": [8.0], "error": 1e-6},
    "peers": {"ours": [4.0], "theirs": [5.0], "absent": ""},
    "compiling": {"step": 2.0, "all": 6.0, "further": 1.5, "exact": 1.0, "another": 0.125},
    "inductor": {"first_call": 20.0},
    "layers": {"once": [6.0, 7.0], "twice": [12.0, 21.0]},
    "memory": {"growth": 3e8, "weights": 6e8},
}  # fmt: skip


def rows(**options: Any) -> list[Row]:
    return measure(run=lambda task, rounds: MADE[task], progress=lambda _: None, **options)


def test_every_row_of_the_issue_is_there() -> None:
    made = {(row.name.split(",")[0], row.against): row for row in rows()}
    ratios = [row.ratio.median if row.ratio else None for row in made.values()]
    assert ratios == [0.5, None, 2.0, 0.5, 0.5, 2.0, 1.25, 0.5, 0.8, 0.125, 0.1, 0.3, 0.25, 0.125, 2.5, 0.5]
    sound = [True, False, False, True, True, True]
    assert [row.met for row in made.values()] == [True, False, False, True, *sound, *[True] * 4, False, True]
    targets = [row.target for row in made.values()]
    assert targets == [0.67, 1.0, 1.4, 0.72, 0.85, 1.0, 1.15, 0.65, 1.0, 0.2, 0.2, 0.5, 0.5, 0.5, 2.2, 1.2]


def test_without_their_environment_peers_are_left_out_and_not_missed() -> None:
    made = {**MADE, "peers": {"absent": "no environment"}, "vocoder": {**MADE["vocoder"], "failed": {"compiled": "no"}}}
    sound = measure(["sound"], run=lambda task, _: made[task], progress=lambda _: None)
    (out,) = (row for row in sound if row.left_out)
    assert (out.against, out.met, out.failed) == ("OpenVINO, float32", None, "")
    assert page.cells(out)[2:] == ("", "", "left out: no environment", "≤ 1.00", "")
    assert [row.failed for row in sound if row.failed] == ["no"]


def test_rounds_are_those_asked_for() -> None:
    asked: list[tuple[str, int]] = []
    measure(run=lambda task, n: asked.append((task, n)) or MADE[task], progress=lambda _: None, rounds=2)  # type: ignore[func-returns-value]
    assert asked == [
        ("step", 2),
        ("speech", 2),
        ("vocoder", 3),
        ("sound", 2),
        ("peers", 2),
        *[("compiling", 1), ("inductor", 1)] * 2,
        ("layers", 2),
        ("memory", 1),
    ]


def test_groups_are_chosen_and_told() -> None:
    told: list[str] = []
    made = measure(["memory", "speech"], run=lambda task, _: MADE[task], progress=told.append)
    assert told == ["memory", "speech"] and [row.unit for row in made] == ["MB", "s"]


def test_a_group_that_fails_says_why_and_the_others_go_on() -> None:
    def run(task: str, _: int) -> dict[str, Any]:
        if task == "speech":
            raise tasks.TaskFailed("MemoryError")
        return MADE[task]

    made = measure(["speech", "memory"], run=run, progress=lambda _: None)
    assert [(row.failed, row.met) for row in made] == [("MemoryError", False), ("", True)]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"only": ["step", "x"]}, "there is no group 'x': choose one of step, speech, s"), ({"rounds": 0}, "rounds=0: ")],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        rows(**options)


def test_cells() -> None:
    step = rows(only=["step"])
    assert page.cells(step[0])[2:] == ("15 ms", "30 ms", "0.50", "≤ 0.67", "yes")
    assert page.cells(step[1])[2:] == ("", "", "not measured: no compiler", "≤ 1.00", "no")
    assert page.cells(Row("a", "b", 1.0, ratio=Ratio(1234.5, 2.0, 0.5, 0.4, 0.6)))[2:5] == (
        "1234 ms",
        "2 ms",
        "0.50 (0.40 to 0.60)",
    )
    assert Budget("programs", "363", 84, 82).cells == ("programs", "363", "84", "≤ 82", "no")
    assert Budget("reads", "", 1.051, 1.05).cells == ("reads", "", "1.051", "≤ 1.05", "no")


@pytest.fixture
def costs() -> list[GraphCost]:
    return [graph_cost("two", two_readers())]


def compared(costs: list[GraphCost]) -> list[PlanCost]:
    """A plan by two passes, which costs what the first graph does."""
    (cost,) = costs
    return [PlanCost(("a", "b"), dict.fromkeys(cost.times, cost.work.programs), cost.times)]


def test_the_page_shows_all_figures_and_says_what_is_modelled(costs: list[GraphCost]) -> None:
    text = page.markdown(
        {**page.machine(), "load": "9.0, 9.0, 9.0"}, rows(), [Budget("programs", "363", 84, 82)], costs, compared(costs)
    )
    lines = text.splitlines()
    assert sum(line.startswith("| decoder step") for line in lines) == 3
    assert "| programs | 363 | 84 | ≤ 82 | no |" in lines
    assert text.count("modelled, not measured") == 1
    assert next(line for line in lines if line.startswith("| two ")).count("dispatch") == 4
    assert "The machine was busy when it began (load 9.0" in text
    assert "| a + b | 2, 8 | 2, 8 | 2, 6 | 2, 6 |" in lines
    assert all(len(line) <= 120 or line.startswith("|") for line in lines)


def test_how_close_two_results_are_stands_beside_what_was_compared() -> None:
    (speech,) = rows(only=["speech"])
    assert (speech.against, page.cells(speech)[1]) == ("Hugging Face", "Hugging Face (spectrograms differ by 1.0e-06)")


def test_a_busy_machine_is_told() -> None:
    assert page.warning({"load": "1.0, 9.0, 9.0", "cores": "2"}) == ""
    assert page.warning({"load": "1.1, 0.0, 0.0", "cores": "2"}).startswith(
        "The machine was busy when it began (load 1.1"
    )


def test_json_holds_what_the_page_shows(costs: list[GraphCost]) -> None:
    made = page.as_json(page.machine(), rows(), [Budget("programs", "363", 84, 82)], costs, compared(costs))
    assert [row["met"] for row in made["measured"]].count(True) == 11
    assert made["measured"][0]["ratio"]["median"] == 0.5 and made["budgets"][0]["met"] is False
    assert made["step_plans"][0]["enable"] == ["a", "b"]
    assert made["modelled"][0]["modelled"] is True and made["machine"]["cores"].isdigit()


def test_a_task_that_ends_with_an_error_is_told_by_its_last_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is this package's, whatever the current folder holds."""
    (tmp_path / "compiler").mkdir()
    (tmp_path / "compiler" / "__init__.py").write_text("raise SystemExit('another package')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tasks.TaskFailed, match="KeyError: 'nothing'"):
        tasks.run("nothing", 1)


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own() -> None:
    (row,) = measure(["memory"], progress=lambda _: None)
    assert row.ratio is not None and 500 < row.ratio.theirs < 700
    assert row.met, f"the peak grew by {row.ratio.median:.2f} of the weights"


def test_every_group_is_named_in_the_command_s_help() -> None:
    from compiler.cli import bench

    assert ", ".join(GROUPS) in str(bench.bench.__annotations__["only"])
