"""``compile`` and ``inspect``."""

import json
import re
from dataclasses import asdict

import pytest
from typer.main import get_command

import compiler
from compiler import CompileOptions, choices
from compiler.cli.app import app
from compiler.inspect import report
from compiler.ir.graph import Graph, Node, Port, Value
from compiler.ir.types import DType, TensorType
from compiler.pipeline import ATEN_PASSES, OPTIONAL, ttnn_passes
from compiler.speecht5 import checkpoint
from compiler.speecht5 import text_to_speech as speecht5
from compiler.target.boards import BOARDS

GRAPHS = ["encoder", "utterance", "decoder_step", "utterance_attentions", "decoder_step_attentions", "postnet"]
VOCODER = ["vocoder", "short_vocoder"]


def rows(table: str) -> list[list[str]]:
    """The cells of a printed table."""
    lines = (line for line in table.splitlines() if line.startswith("│"))
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


def test_compile_tells_sizes_and_times(run):
    result = run("compile", "--text", 40)
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.split("milliseconds")
    assert "graphs for up to 64 text tokens, 64 decoder steps" in first
    sizes = rows(first)
    assert [row[0] for row in sizes] == GRAPHS + VOCODER
    assert all(re.fullmatch(r"[\d.]+( [kMG]?B?)?", cell) for row in sizes for cell in row[1:])
    times = {row[0]: row[1:] for row in rows(second)}
    assert list(times)[:3] == ["trace", "import", "eliminate-dead-code"]
    assert list(times)[-3:] == ["choose-blocks", "make-on-host", "sum"]
    assert [bool(cell) for cell in times["hoist-invariants"]] == [False, True, True, True, True, False, False, False]
    assert max(map(len, result.stdout.splitlines())) <= 120
    assert "…" not in result.stdout


def test_compile_as_json(run, compiled):
    result = run("compile", "--json")
    made = json.loads(result.stdout)
    assert [graph["graph"] for graph in made.pop("graphs")] == GRAPHS + VOCODER
    options = {**asdict(CompileOptions()), "enable": [], "disable": []}
    assert made == {**options, "text_tokens": 32, "decoder_steps": 64, "frames": 64}
    step = json.loads(result.stdout)["graphs"][2]
    final = compiled.decoder_step.graph
    assert step["ttnn"] == len(final.nodes) == step["stages"][-1]["nodes"]
    assert step["aten_imported"] > step["aten_optimised"] > 0
    assert step["constant_bytes"] == sum(c.value.type.bytes for c in final.constants)
    assert step["parameters"] < step["flops"], "a multiplication and an addition for each weight"
    assert [stage["stage"] for stage in step["stages"]][:3] == ["trace", "import", "eliminate-dead-code"]
    assert all(stage["seconds"] >= 0 for stage in step["stages"])


def test_peak_of_a_chain():
    kind = TensorType((8,), DType.FLOAT32)
    values = [Value(kind) for _ in range(5)]
    given, *made = values

    def node(reads: tuple[Value, ...], result: Value) -> Node:
        return Node(None, reads, tuple(map(str, range(len(reads)))), (), (result,))  # type: ignore[arg-type]

    chain = tuple(node((a,), b) for a, b in zip(values, made, strict=False))
    assert report.peak_bytes(Graph("chain", (Port("x", given),), (), chain, (Port("y", made[-1]),))) == 3 * 32
    late = (*chain[:-1], node((made[0], made[2]), made[3]))
    assert report.peak_bytes(Graph("late", (Port("x", given),), (), late, (Port("y", made[-1]),))) == 4 * 32
    unread = (*chain, node((given,), Value(kind)))
    assert report.peak_bytes(Graph("unread", (Port("x", given),), (), unread, (Port("y", made[-1]),))) == 3 * 32


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (896, "896"),
        (999, "999"),
        (1000, "1.00 k"),
        (999_499, "999 k"),
        (999_600, "1.00 M"),
        (2.5e15, "2500 T"),
    ],
)
def test_short_numbers(number, text):
    assert report.short(number) == text
    assert report.short(number, "B").endswith("B")


def test_inspect_prints_the_final_graph(run, compiled):
    result = run("inspect", "encoder")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{compiled.encoder}\n"
    assert "ttnn.linear(" in result.stdout
    assert "  # speecht5.encoder" in result.stdout
    plain = run("inspect", "encoder", "--no-origins").stdout
    assert plain.count("#") == 1, "the format"
    assert plain.startswith("graph encoder {  # format 2\n  inputs:\n    %input_ids: u32[1,32] row_major dram {host}\n")
    assert "u32[1,64]" in run("inspect", "encoder", "--text", 33).stdout


def test_inspect_at_other_stages(run):
    first = run("inspect", "encoder", "--stage", "import").stdout
    assert "aten.linear.default(" in first
    assert "ttnn." not in first
    assert "%input_ids: i64[1,32]" in first
    assert run("inspect", "encoder", "--stage", "canonicalize").stdout != first
    second = run("inspect", "encoder", "--stage", "canonicalize-2").stdout
    assert second.count("\n") < run("inspect", "encoder", "--stage", "canonicalize").stdout.count("\n")
    last = rows(run("inspect", "encoder", "--list").stdout)[-1][0]
    assert run("inspect", "encoder", "--stage", last).stdout == run("inspect", "encoder").stdout


def test_inspect_lists_stages(run, compiled):
    listed = rows(run("inspect", "postnet", "--list").stdout)
    records = compiled.stages("postnet").records
    assert [row[0] for row in listed] == list(report.stages(compiled.stages("postnet")))
    assert [int(row[1]) for row in listed] == [len(record.graph.nodes) for record in records]
    changed = {row[0]: row[2] for row in listed}
    assert (changed["import"], changed["fold-batch-norm"], changed["fuse-attention"]) == ("yes", "yes", "no")


def test_inspect_explains_what_nearly_matched(run):
    lines = run("inspect", "decoder_step_attentions", "--explain").stdout.splitlines()
    at = lines.index("fuse-attention: 2 matches, 2 near misses")
    assert lines[at + 1] == "  the probabilities are read elsewhere:"
    assert re.match(r"    %\w+: f32.* = aten.bmm.default\(.*  # .*layers.0.encoder_attn \(", lines[at + 2])
    assert "layers.1.encoder_attn" in lines[at + 3]
    assert "fuse-attention: 4 matches, 0 near misses" in run("inspect", "decoder_step", "--explain").stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("encoder", "--stage", "canonicalize-3"),
            "there is no stage 'canonicalize-3': did you mean 'canonicalize-2' or 'canonicalize'?",
        ),
        (("encoder", "--text", "201"), "--text 201: the model was compiled for 1 to 200"),
        (("postnet", "--steps", "0"), "--steps 0: the model was compiled for 1 to 600"),
        (("encoder", "--batch-size", "0"), "--batch-size 0: a whole number of at least 1 is expected"),
        (
            ("encoder", "--batch-size", 10**12),
            f"--batch-size {10**12}: a whole number of at most {2**31 - 1} is expect",
        ),
        (("encoder", "--model", ""), "the name of a checkpoint is empty: name a folder, or OWNER/NAME on the hub"),
    ],
)
def test_inspect_refuses(refused, arguments, message):
    assert refused("inspect", *arguments).startswith(message)


def test_compile_refuses(refused):
    assert refused("compile", "--text", "0") == "--text 0: the model was compiled for 1 to 200"


def test_a_full_disk_is_told_without_a_traceback(run, monkeypatch):
    def fail(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("compiler.ir.text.to_text", fail)
    result = run("inspect", "encoder")
    assert (result.exit_code, result.stderr) == (1, "error: [Errno 28] No space left on device\n")


def test_the_post_net_of_exact_length(run, voice, monkeypatch):
    """Its front of the cache is cut out by a stage that the other graphs do not have."""
    exact = speecht5.CompiledSpeechT5(voice.model, CompileOptions(postnet="exact", precision="bfloat16"))

    def chosen(model, options, **_):
        assert options == exact.options
        return exact

    monkeypatch.setattr(compiler, "CompiledSpeechT5", chosen)
    listed = rows(run("inspect", "postnet", "--postnet", "exact", "--steps", 37, "--list").stdout)
    assert [row[0] for row in listed][:3] == ["import", "read-prefix", "eliminate-dead-code"]
    result = run("compile", "--postnet", "exact", "--steps", 37, "--precision", "bfloat16")
    times = {row[0]: row[1:] for row in rows(result.stdout.split("milliseconds")[1])}
    assert list(times)[:4] == ["trace", "import", "read-prefix", "eliminate-dead-code"]
    assert [bool(cell) for cell in times["read-prefix"]] == [False] * 5 + [True]
    text = run("inspect", "postnet", "--postnet", "exact", "--steps", 37, "--no-origins").stdout
    assert "ttnn.multiply" not in text and "slice_end=[1, 74, 96]" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("inspect", "encoder", "--stage", "canonicalise"),
            "there is no stage 'canonicalise': did you mean 'canonicalize'?",
        ),
        (
            ("inspect", "encoder", "--disable", "fold_scale"),
            "--disable fold_scale: there is no such pass that runs by default, did you mean 'fold-scale'?",
        ),
        (
            ("inspect", "encoder", "--stage", "nope"),
            "there is no stage 'nope': `inspect GRAPH --list` lists them",
        ),
        (
            ("compile", "--disable", "foo"),
            "--disable foo: there is no such pass that runs by default, `inspect GRAPH --list` lists them",
        ),
        (
            ("compile", "--enable", "fold-scale"),
            "--enable fold-scale: there is no such optional pass, choose one of flash-decode, shard-norms, "
            "shard-weights",
        ),
    ],
)
def test_names_are_refused_before_a_model_is_loaded(refused, monkeypatch, arguments, message):
    monkeypatch.setattr(checkpoint, "load_model", lambda *_: pytest.fail("loaded"))
    assert refused(*arguments) == message


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "decoder"),
        ("cost", "decoder"),
        ("inspect", "encoder", "--precision", "int8"),
        ("compile", "--board", "x"),
        ("inspect", "postnet", "--postnet", "longer"),
        ("compile", "--weights", "bfloat4_b"),
        ("speak", "one", "--precision", "float16"),
        ("speak", "one", "--board", "n1"),
    ],
)
def test_choices_are_refused_by_the_command_line_itself(misused, arguments):
    """In our words, and not in those of the library that checks values: what came, and what is near or known."""
    message, given = misused(*arguments), arguments[-1]
    argument = f"'{arguments[-2]}'" if arguments[-2].startswith("--") else "'GRAPH'"
    known = {
        "GRAPH": choices.GRAPHS + choices.VOCODER_GRAPHS,
        "precision": choices.PRECISIONS,
        "board": choices.BOARDS,
        "postnet": choices.POSTNETS,
        "weights": choices.WEIGHTS,
    }[argument.strip("'-")]
    assert message == f"{argument}: {given!r} is not known: {choices.advice(given, known)}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compile", "--batch-size", "x"), "'--batch-size': a whole number is expected, got 'x'"),
        (("inspect", "encoder", "--text", "1.5"), "'--text': a whole number is expected, got '1.5'"),
        (("speak", "one", "--threshold", "half"), "'--threshold': a number is expected, got 'half'"),
        (("verify", "--steps", "0"), "'--steps': at least 1 is expected, got '0'"),
    ],
)
def test_numbers_are_refused_in_our_words(misused, arguments, message):
    assert misused(*arguments) == message


def test_every_command_that_shows_or_checks_a_plan_takes_a_devices_by_default():
    """And those that speak, on the CPU unless told otherwise, float32."""
    taken = {
        name: option.default
        for name, command in get_command(app).commands.items()
        for option in command.params
        if option.name == "precision" and option.default is not None
    }
    assert taken == {name: "float32" if name == "compile" else "bfloat16" for name in taken}
    assert {"inspect", "report", "parameters", "check", "cost"} <= set(taken)


def test_the_names_of_passes_and_stages_are_those_of_the_pipeline(sounding):
    """They are written down a second time, where they need no torch."""
    every = [
        *ATEN_PASSES,
        *(step for board in BOARDS.values() for w in choices.WEIGHTS for step in ttnn_passes(board, w)),
    ]
    assert set(choices.OPTIONAL_PASSES) == OPTIONAL, "compiler/choices.py"
    assert set(choices.DEFAULT_PASSES) == {step.name for step in every} - OPTIONAL, "compiler/choices.py"
    assert list(sounding.names) == GRAPHS + VOCODER
    for name in sounding.names:
        assert {record.stage for record in sounding.stages(name).records} <= set(choices.STAGES)
    assert list(choices.GRAPHS) == GRAPHS and list(choices.VOCODER_GRAPHS) == VOCODER


def test_ops_tells_bounds_and_what_was_measured(run):
    ops, measured = run("ops"), run("ops", "--measured")
    assert (ops.exit_code, measured.exit_code) == (0, 0)
    assert "not measured" in ops.stdout and "none beyond the rounding" in ops.stdout
    assert "Measured on a simulated Wormhole board, ttnn 0.81.1: not silicon" in measured.stdout
    assert "| `ttnn.tanh` | bfloat16 | yes | 3.2e-3 |" in run("ops", "--measured", "--markdown").stdout
