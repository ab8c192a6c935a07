"""``python -m compiler verify``: what it prints and writes, what it refuses, and how it ends."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.elementwise import relu
from compiler.ir.graph import Node, Value
from compiler.runtime import judging
from compiler.speecht5.verifying import asked
from lowering import rules
from lowering.rules import Context

SHORT = ("--say", "no", "--steps", "8")


@pytest.mark.slow
def test_a_table_of_rungs_that_pass(run: Callable[..., Any]) -> None:
    made = run("verify", "--precision", "bfloat16", *SHORT)
    assert (made.exit_code, made.stderr) == (0, "")
    assert "bfloat16, weights bfloat16: all rungs pass" in made.stdout
    assert "not run on a device" in made.stdout
    for level in (
        "op",
        "attention",
        "layer",
        "stack",
        "component",
        "teacher-forced",
        "free-running",
        "vocoder",
        "sound",
    ):
        assert f"│ {level} " in made.stdout


def test_what_misses_its_bar_fails_and_says_by_how_much(
    run: Callable[..., Any], monkeypatch: Any, tmp_path: Path
) -> None:
    strict = asked.Bar(error=1e-12)
    monkeypatch.setattr(asked.Bars, "of", lambda *_: asked.Bars(strict, strict, strict, strict))
    page = tmp_path / "page.html"
    made = run("verify", "--precision", "float32", *SHORT, "--json", "-o", str(page))
    assert made.exit_code == 1
    found = json.loads(made.stdout)
    assert not found["passed"]
    (plan,) = found["plans"]
    assert (plan["title"], plan["on_device"], plan["about"]["text"]) == ("float32", False, "no")
    verdicts = {rung["level"]: rung["verdict"] for rung in plan["rungs"]}
    words = verdicts.pop("words")
    assert words in ("pass", "not run"), "which is no number to be strict with"
    assert set(verdicts.values()) <= {"FAIL", "as theirs"} and "FAIL" in verdicts.values()
    assert page.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_readings_beside_theirs(run: Callable[..., Any]) -> None:
    asked = ("verify", "--readings", "--precision", "float32", "--say", "no", "--speaker", "anna")
    made = run(*asked, "--json")
    assert (made.exit_code, made.stderr) == (0, "")
    (plan,) = json.loads(made.stdout)["plans"]
    assert (plan["title"], plan["theirs"], plan["departures"]) == ("float32", "Hugging Face in float32", [])
    assert [(each["speaker"], each["seed"]) for each in plan["readings"]] == [("anna", seed) for seed in range(3)]
    assert all(each["ours"]["stop"] == each["stop"] == each["theirs"]["stop"] > 5 for each in plan["readings"])


def test_no_wrong_node(run: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "call"
    made = run("verify", "--bisect", "--graph", "postnet", "--say", "no", "-o", str(folder))
    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout.startswith("no wrong node: compared 1 graphs through their stages, 18 nodes")
    assert not folder.exists(), "there is no call to repeat"


def test_a_wrong_node_is_shown_and_its_call_written(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = judging.Judged.within.fget
    monkeypatch.setattr(judging.Judged, "within", property(lambda self: real(self) and self.largest < 1))
    folder = tmp_path / "call"
    made = run("verify", "--bisect", "--graph", "postnet", "--say", "no", "-o", str(folder))
    assert made.exit_code == 1
    assert "is the first wrong node" in made.stdout and str(folder / "call.py") in made.stdout
    compile((folder / "call.py").read_text(), "call.py", "exec")
    assert (folder / "tensors.safetensors").is_file()


def test_a_wrong_lowering_is_shown(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real = rules.RULES[ops.tanh.default]

    def wrong(context: Context, node: Node) -> Value:
        return context.emit(relu, {"input_tensor": context.tensor(node["self"])})

    monkeypatch.setitem(rules.RULES, ops.tanh.default, wrong)
    made = run("verify", "--bisect", "--graph", "postnet", "--say", "no", "--json")
    monkeypatch.setitem(rules.RULES, ops.tanh.default, real)
    assert made.exit_code == 1
    (found,) = json.loads(made.stdout)["wrong"]
    assert (found["stage"], found["op"]) == ("lower", "ttnn.relu")
    assert any("activation" in origin for origin in found["origins"])


@pytest.mark.slow
def test_a_graph_of_the_vocoder_is_searched_at_its_own_lengths(run: Callable[..., Any]) -> None:
    made = run("verify", "--bisect", "--graph", "vocoder", "--say", "no")
    assert made.exit_code == 0 and made.stdout.startswith("no wrong node: compared 1 graphs"), made.output


def test_two_plans_side_by_side(run: Callable[..., Any]) -> None:
    made = run("verify", "--bisect", "--graph", "decoder_step", "--without", "fuse-residual", "--say", "no", "--json")
    found = json.loads(made.stdout)
    assert found["compared"]["graphs with the other plan's"] == 1
    assert (found["wrong"], made.exit_code) == ([], 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "--precision", "float32"], "--device takes no --precision float32"),
        (["--precision", "float32", "--weights", "mixed"], "--weights is for bfloat16 plans"),
        (["--graph", "encoder"], "--graph is for --bisect"),
        (["--without", "fuse-bias"], "--without is for --bisect"),
        (["--bisect", "--without", "fuse-bia"], "did you mean 'fuse-bias'"),
        (["--bisect", "--graph", "encodr"], "there is no graph 'encodr'"),
        (["--say", " "], "the text is empty"),
        (["--readings", "--full-size"], "--readings is for speech that stops by itself"),
        (["--readings", "-o", "page.html"], "--readings goes without"),
        (["--readings", "--bisect", "--graph", "encoder"], "--readings goes without"),
        (["--speaker", "ana"], "did you mean 'anna'|choose one of"),
        (["--full-size", "--say", "no"], "--full-size has no tokenizer"),
        (["-o", "nowhere/page.html"], "make it first"),
        (["--bisect", "-o", "."], "."),
        (["--model", "./nowhere"], "there is no checkpoint folder"),
    ],
)
def test_what_is_refused(run: Callable[..., Any], arguments: list[str], said: str) -> None:
    made = run("verify", *arguments)
    assert made.exit_code == 2
    assert made.stderr.startswith("error: ") and re.search(said, made.stderr), made.stderr
    assert made.stdout == ""
