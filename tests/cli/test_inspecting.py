"""``inspect --find``, ``--node``, ``--diff`` and ``--full-size``, ``parameters``, and what a terminal gets of them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler.cli.highlight import show
from compiler.cli.marks import DiffHighlighter, GraphHighlighter
from compiler.inspect import difference, explain, neighbours, parameter_text
from compiler.inspect.parameters import book, find
from compiler.speecht5 import checkpoint

BIAS = "speecht5.decoder.wrapped_decoder.layers.1.encoder_attn.v_proj.bias"
PAGE = Path(__file__).parents[2] / "docs" / "parameters.md"


def test_find_needs_no_graph(run: Callable[..., Any], sounding: Any) -> None:
    result = run("inspect", "--find", BIAS)
    (entry,) = find(sounding, BIAS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == parameter_text.entry_text(entry) + "\n"
    assert "out_proj.weight.T + out_proj.bias" in result.stdout
    (only,) = find(sounding, BIAS, "encoder")
    assert run("inspect", "encoder", "--find", BIAS).stdout == parameter_text.entry_text(only) + "\n"


def test_find_a_module_and_the_vocoders(run: Callable[..., Any], sounding: Any) -> None:
    said = run("inspect", "--find", "speech_decoder_postnet.layers.0").stdout
    assert said == parameter_text.listing(find(sounding, "speech_decoder_postnet.layers.0")) + "\n"
    assert "speech_decoder_postnet.layers.0.batch_norm.num_batches_tracked: i64[] of BatchNorm1d\n  no graph" in said
    assert "conv_pre.weight / scale.view(1, 80, 1)" in run("inspect", "--find", "scale").stdout


def test_node(run: Callable[..., Any], compiled: Any) -> None:
    recorder = compiled.stages("encoder")
    last = recorder.records[-1].graph.nodes[-1].result.name
    assert run("inspect", "encoder", "--node", f"%{last}").stdout == neighbours.describe(recorder, last) + "\n"
    at = run("inspect", "encoder", "--node", "softmax", "--stage", "import").stdout
    assert at == neighbours.describe(recorder, "softmax", "import") + "\n"


@pytest.mark.parametrize(
    ("arguments", "between"),
    [
        (("postnet", "--diff", "fold-batch-norm"), ["fold-batch-norm"]),
        (("--diff", "fold-batch-norm", "postnet"), ["fold-batch-norm"]),
        (("postnet", "--diff", "import", "lower"), ["import", "lower"]),
        (("--diff", "import", "lower", "postnet"), ["import", "lower"]),
        (("postnet", "--diff=import", "lower", "--steps", 20), ["import", "lower"]),
        (("postnet", "--diff", "import", "--diff", "lower"), ["import", "lower"]),
    ],
)
def test_diff(run: Callable[..., Any], compiled: Any, arguments: tuple[object, ...], between: list[str]) -> None:
    result = run("inspect", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == difference.difference(compiled.stages("postnet"), between) + "\n"


def test_a_diff_of_nothing(run: Callable[..., Any]) -> None:
    result = run("inspect", "postnet", "--diff", "fuse-attention")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no difference: fuse-attention\n")


def test_explain_counts_matches(run: Callable[..., Any], compiled: Any) -> None:
    lines = run("inspect", "encoder", "--explain").stdout.splitlines()
    assert [str(each) for each in explain.found(compiled.stages("encoder"))] == [
        line for line in lines if line[0] != " "
    ]


def test_full_size_takes_the_default_configuration(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for part in ("model", "vocoder"):
        monkeypatch.setattr(checkpoint, f"full_size_{part}", lambda part=part: taken.append(part) or part)
    assert run("inspect", "encoder", "--list", "--full-size").exit_code == 0
    assert run("inspect", "vocoder", "--list", "--full-size").exit_code == 0
    assert taken == ["model", "model", "vocoder"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a graph, one of encoder, utterance, decoder_step,"),
        (("encoder", "--node", "add", "--find", "scale"), "--node and --find: one at a time"),
        (("encoder", "--list", "--explain"), "--list and --explain: one at a time"),
        (("encoder", "--stage", "lower", "--diff", "import"), "--stage goes without --diff"),
        (("encoder", "--diff", "import"), "import is the first stage, and nothing is before it: name two stages"),
        (("encoder", "--diff", "fold-scales"), "there is no stage 'fold-scales': did you mean 'fold-scale'"),
        (("encoder", "--node", "%nothing"), "encoder after final has no value '%nothing'"),
        (("vocoder", "--find", BIAS), f"{BIAS} is not of the model of vocoder, but of encoder, utterance,"),
        (("--find", BIAS.replace("encoder_attn", "encoder_atn")), "there is no parameter or buffer"),
        (("--find", BIAS, "--full-size", "--model", "x/y"), "--full-size takes no --model"),
    ],
)
def test_what_is_refused(refused: Callable[..., str], arguments: tuple[str, ...], message: str) -> None:
    said = refused("inspect", *arguments)
    assert said.startswith(message)
    assert "encoder_atn" not in said or f"did you mean '{BIAS}'" in said


def test_parameters(run: Callable[..., Any], sounding: Any) -> None:
    entries = book(sounding)
    assert run("parameters").stdout == parameter_text.listing(entries) + "\n"
    made = json.loads(run("parameters", "--json").stdout)
    assert [each["name"] for each in made] == [entry.name for entry in entries]
    (bias,) = (each for each in made if each["name"] == BIAS)
    (constant,) = bias["graphs"]["decoder_step"]["constants"]
    assert constant["read_by"][0]["op"] == "ttnn.linear" and BIAS in constant["expression"]


def test_the_page_of_parameters_is_up_to_date(
    run: Callable[..., Any], sounding: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    planned = sounding.with_plan(precision="bfloat16")
    monkeypatch.setattr("compiler.CompiledSpeechT5", lambda *_, **__: planned)
    page = run("parameters", "--markdown").stdout
    if request.config.getoption("--update-golden"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "make it anew: python -m compiler parameters --markdown > docs/parameters.md"


class Terminal(io.StringIO):
    """Stdout that says it is a terminal."""

    def isatty(self) -> bool:
        return True


LINE = "    %add_1: bf16[1,32] tile l1 = ttnn.add(input_tensor_a=%x, input_tensor_b=%c0)  # layers.0 (m.py:1)"


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_terminal_gets_colours_and_a_pipe_the_text(monkeypatch: pytest.MonkeyPatch, no_colour: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        show(LINE)
        said = stream.getvalue()
        assert ("\x1b[36m" in said) == (stream.isatty() and not no_colour)
        plain = said if "\x1b" not in said else "".join(part.split("m", 1)[-1] for part in said.split("\x1b["))
        assert plain == f"{LINE}\n", "no line is cut or broken"


def test_what_is_marked() -> None:
    marked = GraphHighlighter()(LINE)
    found = {(str(span.style), LINE[span.start : span.end].strip()) for span in marked.spans}
    assert found >= {
        ("graph.value", "%add_1"),
        ("graph.value", "%c0"),
        ("graph.type", "bf16[1,32]"),
        ("graph.type", "tile l1"),
        ("graph.op", "ttnn.add"),
        ("graph.name", "input_tensor_a"),
        ("graph.origin", "# layers.0 (m.py:1)"),
    }
    for line, style in ((f"+{LINE}", "graph.added"), (f"-{LINE}", "graph.removed"), ("@@ -1 +1 @@", "graph.place")):
        assert [str(span.style) for span in DiffHighlighter()(line).spans] == [style]
