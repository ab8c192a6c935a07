"""Tables in narrow terminals: each number is whole, nothing is cut, and no line is too long."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from compiler.benchmark import against, page
from compiler.benchmark.rows import Row
from compiler.benchmark.timing import Ratio
from compiler.cli.fitted import fitted
from compiler.device.findings import GraphCheck
from compiler.inspect import checking, cost_report, numerics, report
from compiler.speecht5 import budgets, pace, plans
from compiler.target.boards import BOARDS


def printed(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for part in fitted(table, width):
        console.print(part)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def cells(lines: list[str]) -> list[str]:
    return [cell.strip() for line in lines if line.startswith("│") for cell in line.split("│")[1:-1]]


def check() -> list[checking.BoardCheck]:
    graph = GraphCheck(
        "decoder_step_attentions", 1234, 1234, 1234, 1234, {}, {}, 0, 0, 123_456, 1_395_424, 987_654_321, ()
    )
    sizes = {"text_tokens": 32, "decoder_steps": 64}
    return [checking.BoardCheck("n300", "wormhole_b0", (8, 7), 2, 1, sizes, (graph, graph), {})]


def measured() -> list[Row]:
    ratio = Ratio(1234.5, 2345.6, 0.53, 0.51, 0.55)
    return [
        Row("generate_speech, 64 tokens, 200 steps", "Hugging Face (spectrograms differ by 1.2e-05)", 0.72, "s", ratio),
        Row("a", "b", 1.0, left_out="make bench takes --peers for it"),
    ]


def compared() -> list[against.Compared]:
    return [against.Compared(figure, (12.345, 13.456), (1234.5, 2345.6)) for figure in against.FIGURES]


def step_plans() -> list[plans.PlanCost]:
    times = dict.fromkeys(BOARDS, cost_report.total([]))
    return [plans.PlanCost(passes, dict.fromkeys(BOARDS, 1234), times) for passes in plans.alternatives()]


@pytest.fixture(scope="module")
def tables(sounding: Any) -> Callable[[str], list[Table]]:
    """The tables of each command, of the small voice or of figures as large as they get."""
    found = report.reports(sounding)
    planned = sounding.with_plan(precision="bfloat16")
    costs = [cost_report.model_cost(planned, name) for name in ("encoder", "decoder_step")]
    step = planned.graph("decoder_step").graph
    made = {
        "compile": [report.graph_table(found, sounding.sizes()), report.time_table(found)],
        "inspect --list": [report.stage_table(sounding.stages("encoder"))],
        "check": [checking.table(check())],
        "check --budgets": [
            budgets.table([budgets.Budget("programs, decoder step, all of it", "42 in every step", 82.5, 83)])
        ],
        "cost": [
            cost_report.work_table(costs, "32 text tokens"),
            cost_report.time_table(costs),
            plans.table(step_plans()),
        ],
        "cost GRAPH": [cost_report.op_table(step, BOARDS["n150"])],
        "cost --full-size": [pace.table([pace.DramModel("n150", 1.2345, 0.0123, 512)])],
        "ops": [numerics.to_table()],
        "ops --measured": numerics.measured_tables(),
        "bench": [page.table(measured())],
        "bench --against": [against.table("HEAD~1", compared())],
    }
    return made.__getitem__


COMMANDS = [
    "compile",
    "inspect --list",
    "check",
    "check --budgets",
    "cost",
    "cost GRAPH",
    "cost --full-size",
    "ops",
    "ops --measured",
    "bench",
    "bench --against",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_tables_of_a_command(tables: Callable[[str], list[Table]], command: str, width: int) -> None:
    for table in tables(command):
        lines = printed(table, width)
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)
        shown = " ".join(cells(lines)).split()
        for column in table.columns:
            for cell in map(str, column.cells):
                numbers = [word for word in cell.split() if re.match(r"[\d(≤~-]*\d[\d.,e+-]*\)?$", word)]
                assert all(number in shown for number in numbers), (column.header, cell)
                if column.justify == "right":
                    assert cell in cells(lines), "what is to the right is not even folded"


def test_a_table_that_fits_stays_as_it_is() -> None:
    table = Table("a", "b")
    table.add_row("1", "2")
    assert fitted(table, 80) == [table]


def test_columns_that_have_no_room_go_below_and_the_first_is_repeated() -> None:
    table = Table(title="numbers", caption="that is all")
    table.add_column("name", no_wrap=True)
    for i in range(5):
        table.add_column(f"column{i}", justify="right")
    table.add_row("first", *(str(10**8 + i) for i in range(5)))
    table.add_section()
    table.add_row("sum", *(str(10**8 + i) for i in range(5)))
    parts = fitted(table, 50)
    assert [[column.header for column in part.columns] for part in parts] == [
        ["name", "column0", "column1", "column2"],
        ["name", "column3", "column4"],
    ]
    assert [(part.title, part.caption) for part in parts] == [("numbers", None), (None, "that is all")]
    assert [row.end_section for row in parts[1].rows] == [True, False]
    assert cells(printed(table, 50))[:4] == ["first", "100000000", "100000001", "100000002"]


def test_text_folds_before_numbers_do() -> None:
    table = Table("what", "how much", "why")
    numbers = ("123456.789012345", "234567.890123456")
    table.add_row(
        "a_name_without_any_spaces_in_it", "between {} and {} of what there is".format(*numbers), "words " * 9
    )
    lines = printed(table, 56)
    assert max(map(len, lines)) <= 56
    assert set(numbers) <= set(" ".join(cells(lines)).split())
