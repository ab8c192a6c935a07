"""Fitting the cost model's constants: what was planted is found, what no node determines is said, files are checked."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from compiler.errors import InvalidArgument
from compiler.inspect.tuning import fitting, least_squares, records
from compiler.inspect.tuning.clock import PLANTED, STAND_IN, StandInClock
from compiler.inspect.tuning.node_times import NodeTime, node_times
from compiler.runtime.executable import Executable
from compiler.target import constants
from compiler.target.boards import BOARDS
from compiler.target.constants import Constants
from compiler.target.cost import Work, graph_time, time_of, work
from tests.shared import shared

pytestmark = pytest.mark.slow

SHAPE = least_squares.Shape(("gap", "link"), (("matrix", "vector"), ("pages", "shards")))
TRUE = {"gap": 4.0, "link": 0.3, "matrix": 0.05, "vector": 2.0, "pages": 0.7, "shards": 0.2}


def rows(seed: int, count: int = 80) -> list[dict[str, float]]:
    drawn = random.Random(seed)
    made = []
    for _ in range(count):
        row = {"gap": float(drawn.randint(1, 3)), drawn.choice(["matrix", "vector"]): drawn.uniform(0, 40)}
        row[drawn.choice(["pages", "shards"])] = drawn.uniform(0, 40)
        made.append(row | ({"link": drawn.uniform(0, 9)} if drawn.random() < 0.2 else {}))
    return made


def seconds(row: dict[str, float], of: dict[str, float]) -> float:
    sums = [sum(of[name] * row.get(name, 0.0) for name in group) for group in (SHAPE.always, *SHAPE.groups)]
    return sums[0] + max(sums[1:])


@pytest.mark.parametrize("seed", range(5))
def test_planted_coefficients_are_found(seed: int) -> None:
    given = rows(seed)
    start = {name: value * random.Random(seed).uniform(0.3, 3.0) for name, value in TRUE.items()}
    found = least_squares.fit(given, [seconds(row, TRUE) for row in given], SHAPE, start)
    assert found.open == ()
    assert found.coefficients == pytest.approx(TRUE, rel=1e-6)
    assert max(map(abs, found.after)) < 1e-6 < max(map(abs, found.before))


def test_noise_moves_what_is_found_by_little() -> None:
    given, drawn = rows(1, 200), random.Random(2)
    noisy = [seconds(row, TRUE) * drawn.gauss(1.0, 0.02) for row in given]
    found = least_squares.fit(given, noisy, SHAPE, dict.fromkeys(TRUE, 1.0))
    assert found.coefficients == pytest.approx(TRUE, rel=0.1)


def test_no_coefficient_is_negative_and_what_no_row_has_stays() -> None:
    given = [{"gap": 1.0, "pages": 1.0}, {"gap": 2.0, "pages": 1.0}, {"gap": 3.0, "pages": 1.0}]
    start = dict.fromkeys(TRUE, 0.5)
    found = least_squares.fit(given, [0.9, 2.0, 3.1], SHAPE, start)
    assert {*found.open} == {"link", "matrix", "vector", "pages", "shards"}, "pages would be negative"
    assert all(found.coefficients[name] == 0.5 for name in found.open)
    ratios = [gap / time for gap, time in ((1, 0.9), (2, 2.0), (3, 3.1))]
    assert found.coefficients["gap"] == pytest.approx(sum(ratios) / sum(ratio**2 for ratio in ratios))


@pytest.mark.parametrize("figures", [[], [1.0, 0.0]])
def test_figures_that_cannot_be_fitted(figures: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        least_squares.fit([{"gap": 1.0}] * len(figures), figures, SHAPE, TRUE)


# --- the cost model's constants -----------------------------------------------------------------------------------


def graphs(board: str = "n150") -> dict[str, Executable]:
    compiled = shared({"encoder_layers": 1, "decoder_layers": 1}, precision="bfloat16")[1]
    plan = compiled.for_board(board)
    return {name: plan.graph(name) for name in ("encoder", "utterance", "decoder_step", "postnet")}


def wider() -> dict[str, Executable]:
    """The same model under a plan whose weights are of another type."""
    compiled = shared({"encoder_layers": 1, "decoder_layers": 1}, precision="bfloat16")[1]
    return {"decoder_step": compiled.with_plan(weights="bfloat8_b").graph("decoder_step")}


def timed(board: str) -> tuple[NodeTime, ...]:
    """Nodes of a small model, and some that read their weights in shards, for which it is too small."""
    clock = StandInClock.planted(BOARDS[board])
    nodes = node_times(graphs(board), clock, BOARDS[board], None)
    sharded = [
        Work(1, 0, 1 << 20, 1024, 64, read, 0, sharded=read, readers=readers, matrix=True)
        for readers in BOARDS[board].dram_sharded
        for read in (1 << 20, 1 << 21)
    ]
    seconds = [time_of(asked, clock.board).seconds for asked in sharded]
    return (
        *nodes,
        *(NodeTime("x", "x", "ttnn.linear", 0, t, t, t, t, w) for w, t in zip(sharded, seconds, strict=True)),
    )


@pytest.mark.parametrize("board", ["n150", "n300", "p150"])
def test_the_stand_in_clocks_constants_are_found(board: str) -> None:
    found = fitting.fit_constants(board, STAND_IN, timed(board))
    before, after = found.before.values(), found.after.values()
    ratios = {name: after[name] / before[name] for name in after if name not in found.open}
    planted = {name: PLANTED[name.split(".")[0].removesuffix("_sharded")] for name in ratios}
    assert ratios == pytest.approx(planted, rel=0.05)
    assert found.open == ()
    assert max(map(abs, found.errors_after)) < 0.02 < max(map(abs, found.errors_before))
    assert STAND_IN in found.after.source and STAND_IN in str(fitting.table(found).caption)


def test_fitted_constants_model_what_was_timed() -> None:
    nodes = timed("n150")
    board = fitting.fit_constants("n150", STAND_IN, nodes).after.board_with()
    assert [time_of(node.work, board).seconds for node in nodes] == pytest.approx(
        [node.timed for node in nodes], rel=0.02
    )
    step = graphs()["decoder_step"].graph
    assert graph_time(step, board).seconds > 1.3 * graph_time(step, BOARDS["n150"]).seconds


@pytest.mark.parametrize("board", BOARDS)
def test_published_constants_change_nothing(board: str) -> None:
    assert Constants.of(BOARDS[board]).board_with() == BOARDS[board]


def test_nodes_are_timed_once_a_kind_and_counted() -> None:
    nodes = node_times(graphs(), StandInClock.planted(BOARDS["n150"]), BOARDS["n150"], None, wider().values())
    here = [node for executable in graphs().values() for node in executable.graph.nodes]
    asking = [node for node in here if work(node).programs or work(node).sent]
    assert sum(node.count for node in nodes) == len(asking)
    assert any(node.count == 0 for node in nodes), "another plan's nodes are there for the fit"
    assert all(node.low <= node.timed <= node.high for node in nodes)


def test_there_must_be_times() -> None:
    with pytest.raises(InvalidArgument, match="run `tune` again"):
        fitting.fit_constants("n150", STAND_IN, ())


# --- files ------------------------------------------------------------------------------------------------------------


def test_constants_go_through_a_file(tmp_path: Path) -> None:
    made = Constants.of(BOARDS["p150"]).with_values("here", {"dispatch": 1234.0, "dram_sharded.2": 1e9})
    file = tmp_path / "constants.json"
    file.write_text(made.to_json())
    assert constants.read(file) == made
    board = made.board_with()
    assert (board.dispatch.value, board.dram_sharded[2].value, board.dispatch.source) == (1234.0, 1e9, "here")
    assert board.matrix == BOARDS["p150"].matrix


def _changed(change: Callable[[dict[str, Any]], Any]) -> str:
    content = json.loads(Constants.of(BOARDS["n150"]).to_json())
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "it holds no JSON object"),
        (_changed(lambda c: c.update(format=2)), "format 1 is expected"),
        (_changed(lambda c: c.update(board="n151")), "board='n151' is not known"),
        (_changed(lambda c: c.update(dram=0.0)), "dram=0.0: a positive number is expected"),
        (_changed(lambda c: c.update(dram=-1.0)), "a positive number is expected"),
        (_changed(lambda c: c.pop("matrix")), "matrix is missing"),
        (_changed(lambda c: c.update(dram_sharded={"4": 1.0})), "a n150 has them for 1"),
        (_changed(lambda c: c.update(host="fast")), "constants.json'.host: a value of type float"),
    ],
)
def test_constants_that_are_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "constants.json"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as refused:
        constants.read(file)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("{", "cannot be read as JSON"),
        ('{"format": 1}', "is no file of `tune`"),
        ('{"format": 1, "board": "n150", "clock": "x", "nodes": [{}]}', "nodes[0]: graph is missing"),
    ],
)
def test_a_file_that_tune_did_not_write(text: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "tune.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidArgument) as refused:
        records.read(file)
    assert said in str(refused.value) and "tune.json" in str(refused.value)


@pytest.mark.parametrize(
    ("place", "figure"),
    [
        (("board",), "n999"),
        (("nodes", 0, "timed"), float("inf")),
        (("nodes", 0, "timed"), -1.0),
        (("nodes", 0, "work", "cores"), 0),
        (("nodes", 0, "work", "per_cycle"), 0.0),
        (("nodes", 0, "work", "read"), 10**400),
        (("nodes", 0, "work", "written"), -5),
    ],
    ids=lambda given: str(given)[:30],
)
def test_figures_that_no_node_has_are_named(place: tuple[str | int, ...], figure: object, tmp_path: Path) -> None:
    node = NodeTime("encoder", "x", "ttnn.linear", 1, 1e-6, 1e-6, 1e-6, 1e-6, Work(1, 64, 64, 4096.0, 1, 8, 8))
    content: Any = {"format": 1, "board": "n150", "clock": "x", "nodes": [asdict(node)]}
    file = tmp_path / "tune.json"
    file.write_text(json.dumps(content))
    assert records.read(file).nodes == (node,)
    inside = content
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = figure
    file.write_text(json.dumps(content))
    with pytest.raises(InvalidArgument, match=str(place[-1])):
        records.read(file)


def test_nothing_of_the_stand_in_is_called_measured() -> None:
    shown: Sequence[str] = [STAND_IN, StandInClock.planted(BOARDS["n150"]).label]
    assert all("nothing measured" in each for each in shown)
