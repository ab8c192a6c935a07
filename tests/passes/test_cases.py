"""Every case in the folder ``cases``: what the passes make of its graphs, and what holds for every pass."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compiler.ir.check import check_graph
from compiler.ir.graph import Graph
from tests.passes.cases import FOLDER, TextCase
from tests.passes.interpret import assert_same_numbers, changed, has_dead_code, insensitive, origins
from tests.sketch import Case

DROP = {
    *("cancel-permutes", "canonicalize", "eliminate-common-subexpressions", "eliminate-dead-code", "flash-decode"),
    *("fold-constants", "mask-by-index", "sink-permutes", "sink-reshapes"),
}
"""Passes that leave nodes out and put nothing in their place."""
PATHS = sorted(FOLDER.rglob("*.txt"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path, request: pytest.FixtureRequest) -> None:
    said = TextCase.read(path)
    made = [run(said.steps, case) for case in (said.case, *(other.case for other in said.others))]
    text, want = said.text(made[0], made[1:]), path.read_text()
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    elif text != want:
        diff = difflib.unified_diff(want.splitlines(), text.splitlines(), path.name, "this run", lineterm="")
        pytest.fail("\n".join(["the case says something else:", *diff]), pytrace=False)


def run(steps: Sequence[Any], case: Case) -> Graph:
    """The graph after the passes, with all checked that a text does not say."""
    stage, after = case.graph.stage, case
    check_graph(case.graph, stage)
    for step in steps:
        assert [v for promised in step.requires for v in promised.violations(after.graph)] == []
        made = changed(step, after, stage)
        assert step.name in DROP or origins(made) == origins(after.graph), "a place in the model is forgotten"
        after = replace(after, graph=made)
    assert_same_numbers(after.run(), case.run())
    assert has_dead_code(case.graph) or not has_dead_code(after.graph)
    assert insensitive(after, case.graph) == []
    return after.graph
