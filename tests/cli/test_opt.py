"""The command ``opt``: passes over the text of a graph, as other compilers have it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from compiler.cli import app
from compiler.ir import parse
from compiler.speecht5 import checkpoint

SUMS = """\
graph sums {  # format 2
  inputs:
    %x: f32[2,3]
    %w: f32[2,3]
  constants:
    %c0: f32[3] = bias
  nodes:
    %0: f32[2,3] = aten.clone.default(self=%x)  # layer (here.py:1)
    %1: f32[3] = aten.neg.default(self=%c0)  # layer (here.py:2)
    %2: f32[2,3] = aten.add.Tensor(self=%0, other=%1)  # layer (here.py:3)
    %3: f32[2,3] = aten.add.Tensor(self=%2, other=%w)
  outputs:
    y = %2
}
"""
CLEAN = """\
graph sums {  # format 2
  inputs:
    %x: f32[2,3]
    %w: f32[2,3]
  constants:
    %c1: f32[3] = neg(bias)
  nodes:
    %2: f32[2,3] = aten.add.Tensor(self=%x, other=%c1)  # layer (here.py:3)
  outputs:
    y = %2
}
"""


def opt(*arguments: object, text: str = SUMS) -> Result:
    return CliRunner().invoke(app, ["opt", *map(str, arguments)], input=text)


def test_passes_of_the_graphs_stage_run_and_the_result_is_printed(tmp_path: Path) -> None:
    (tmp_path / "sums.txt").write_text(SUMS)
    named = opt("--passes", "eliminate-dead-code,canonicalize,fold-constants", tmp_path / "sums.txt")
    assert (named.exit_code, named.stdout) == (0, CLEAN), named.output
    assert opt("-").stdout == CLEAN
    assert opt("-", text=CLEAN).stdout == CLEAN
    assert opt("--passes", "canonicalize", "--no-origins", "-").stdout.count("#") == 1


def test_until_stops_behind_a_pass() -> None:
    assert "aten.clone" in opt("--until", "eliminate-dead-code", "-").stdout
    assert "aten.neg" in opt("--until", "canonicalize", "-").stdout
    assert opt("--until", "fold-constants", "-").stdout == CLEAN


def test_a_graph_of_inspect_is_taken_with_its_literals(run, compiled, tmp_path: Path) -> None:
    file, literals = tmp_path / "encoder.txt", tmp_path / "encoder.safetensors"
    file.write_text(run("inspect", "encoder", "--stage", "import", "--literals", literals).stdout)
    made = run("opt", "--literals", literals, file)
    assert made.exit_code == 0, made.output
    recorder = compiled.stages("encoder")
    after = [record.graph for record in recorder.records[: [r.stage for r in recorder.records].index("lower")]][-1]
    assert made.stdout == f"{after}\n"


@pytest.mark.parametrize(
    ("arguments", "text", "code", "message"),
    [
        (("-",), "graph", 2, "error: line 1, column 6: the name of the graph is expected, and the end of the line is"),
        (("missing.txt",), "", 2, "error: 'missing.txt' cannot be read: No such file or directory"),
        (
            ("--passes", "fold-sale", "-"),
            SUMS,
            2,
            "error: there is no pass 'fold-sale' at this stage: did you mean 'fold-scale'",
        ),
        (("--passes", "canonicalize", "--until", "fold-scale", "-"), SUMS, 2, "error: the passes that were asked for"),
        (
            ("--passes", "eliminate-dead-code,fold-scale", "-"),
            SUMS,
            1,
            "error: graph 'sums' is not canonical, and pass fold-scale requires it: aten.clone.default is left. "
            "Passes that ran: eliminate-dead-code\n",
        ),
        (
            ("-",),
            SUMS.replace("%1: f32[3]", "%1: f32[4]"),
            1,
            "error: graph 'sums' is not valid at the aten stage after",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, text: str, code: int, message: str) -> None:
    result = opt(*arguments, text=text)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(message)


def test_a_ttnn_graph_gets_the_passes_of_its_stage(run, compiled, tmp_path: Path) -> None:
    """None that is optional unless it is named; and what it names by digest goes beside it."""
    file = tmp_path / "step.txt"
    file.write_text(run("inspect", "decoder_step", "--stage", "lower", "--literals", tmp_path / "lowered").stdout)
    made = run("opt", "--literals", tmp_path / "lowered", "--write-literals", tmp_path / "made", file)
    assert made.stdout == f"{compiled.decoder_step}\n", made.stderr
    again = opt("--passes", "place-in-l1", "--literals", tmp_path / "made", "-", text=made.stdout)
    assert again.exit_code == 0, again.output


def test_without_verification_a_requirement_is_not_asked_for() -> None:
    result = opt("--no-verify-each", "--passes", "fold-scale", "-")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("opt", "--write-literals", "folder", "sums.txt"), "'folder' is a folder: name a file"),
        (("opt", "--write-literals", "none/l.st", "sums.txt"), "there is no folder 'none' to write 'l.st' in"),
        (
            ("opt", "--literals", "none.st", "sums.txt"),
            "--literals 'none.st' cannot be read: No such file",
        ),
        (("opt", "--literals", "folder", "sums.txt"), "--literals 'folder' cannot be read: Is a directory"),
        (
            ("inspect", "encoder", "--stage", "import", "--literals", "folder"),
            "'folder' is a folder: name a file in it",
        ),
        (("inspect", "encoder", "--list", "--literals", "l.st"), "--literals goes without --list: the text of a graph"),
    ],
)
def test_files_of_literals_are_refused_before_any_work(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    Path("folder").mkdir()
    Path("sums.txt").write_text(SUMS)
    monkeypatch.setattr(parse, "parse", lambda *_: pytest.fail("parsed"))
    monkeypatch.setattr(checkpoint, "load_model", lambda *_: pytest.fail("loaded"))
    assert refused(*arguments).startswith(message)
