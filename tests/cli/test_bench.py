"""``bench``: which rows, where to, and what it refuses; the figures themselves are tested in tests/benchmark."""

import json

import pytest

from compiler.benchmark import rows
from compiler.benchmark.rows import Row
from compiler.benchmark.timing import Ratio
from compiler.speecht5.budgets import Budget


@pytest.fixture
def bench(run, monkeypatch, voice):
    """The command with its measurements replaced, and the small voice in place of the full-size model."""
    made = [Row("a", "b", 1.0, ratio=Ratio(1.0, 2.0, 0.5, 0.4, 0.6))]
    monkeypatch.setattr(rows, "measure", lambda only, rounds, progress: made * (len(only) or 5))
    monkeypatch.setattr("os.getloadavg", lambda: (0.1, 0.1, 0.1))
    monkeypatch.setattr("compiler.benchmark.contenders.model", lambda: voice.model)
    monkeypatch.setattr(
        "compiler.speecht5.budgets.evaluate", lambda model, progress: (None, [Budget("programs", "363", 84, 82)])
    )
    return lambda *arguments: run("bench", *arguments)


def test_bench_prints_measured_and_modelled_figures_apart(bench):
    result = bench("--only", "step,memory")
    assert (result.exit_code, result.stderr) == (0, "")
    measured, plan = result.stdout.split("budgets (programs: accepted by ttnn's mock, not measured)")
    assert measured.count("0.50 (0.40 to 0.60)") == 2
    assert "programs" in plan and plan.count("modelled, not measured") == 2
    assert "Inputs of the model:" in plan


@pytest.mark.slow
def test_bench_as_json(bench):
    made = json.loads(bench("--json").stdout)
    assert len(made["measured"]) == 5
    assert {"machine", "measured", "budgets", "modelled", "step_plans"} == set(made)


@pytest.mark.slow
def test_bench_writes_its_pages(bench, tmp_path):
    assert bench("--pages", tmp_path).exit_code == 0
    assert (tmp_path / "benchmarks.md").read_text().startswith("# Benchmarks\n")
    assert (tmp_path / "benchmarks.svg").read_text().startswith("<?xml")


def test_bench_refuses_pages_that_cannot_be_written_before_it_measures(refused, tmp_path):
    (tmp_path / "benchmarks.svg").mkdir()
    assert refused("bench", "--pages", tmp_path) == f"'{tmp_path}/benchmarks.svg' is a folder: name a file in it"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "steps"), "there is no group 'steps': did you mean 'step'?"),
        (("--rounds", "0"), "--rounds 0: a whole number of at least 1 is expected"),
        (("--rounds", "1000000000000"), "--rounds 1000000000000: a whole number of at most 1000 is expected"),
        (("--only", "step,,memory"), "--only step,,memory: names of groups are expected, with a comma between two"),
        (("--only", ","), "--only ,: names of groups are expected, with a comma between two"),
        (("--against", "HEAD", "--rounds", "0"), "--rounds 0: a whole number of at least 1 is expected"),
        (("--against", "HEAD", "--only", "steps"), "there is no group 'steps': did you mean 'step'?"),
        (("--pages", "nowhere"), "--pages nowhere is no folder: make it first"),
    ],
)
def test_bench_refuses(refused, arguments, message):
    assert refused("bench", *arguments) == message
