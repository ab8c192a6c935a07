"""Emitted scripts make the executor's calls, one for one, and speak as it does; they run alone and are in good form."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from compiler import CompiledSpeechT5, CompileOptions, InvalidArgument, checkpoint, compile_speecht5, emit
from compiler.cli.app import app
from compiler.device import mock
from compiler.pipeline import OPTIONAL
from compiler.speecht5.emitting import SCRIPT
from compiler.speecht5.vocoder import CompiledHifiGan
from compiler.speecht5.vocoder_options import VocoderOptions
from compiler.target.boards import BOARDS
from tests import vocoders
from tests.device.conftest import Mocks
from tests.device.emitted import inside
from tests.device.emitted.recording import script
from tests.device.standin.module import stand_in
from tests.device.standin.sums import ExactSums
from tests.device.standin.tensors import Device
from tests.fidelity.test_generate_speech import small
from tests.forked import run_with_ttnn
from tests.models import lively, speaker, tokens

SIZES = {"text": 20, "steps": 128, "frames": 64}
ROWS, MASKS = 16384, 3072
"""Bytes of L1 that a script uses longer than the executor: measured, a tenth of the most that is in use."""
THRESHOLD = 0.16
"""Of the stop probabilities of a step, which reach it after some steps."""
LINES = 830
"""Lines of the small voice's script, at the most."""
PLANS: dict[str, dict[str, Any]] = {
    "n150": {"board": "n150"},
    "p150": {"board": "p150"},
    "mixed weights, all optional passes": {"board": "n150", "weights": "mixed", "enable": tuple(sorted(OPTIONAL))},
    "weights in blocks, no views": {"board": "n150", "weights": "bfloat8_b", "disable": ("heads-as-views",)},
}


@cache
def compiled(name: str) -> CompiledSpeechT5:
    """One of :data:`PLANS`, with a vocoder of one window, as a script has one."""
    plan = PLANS[name]
    made = CompiledSpeechT5(
        lively(small(max_speech_positions=140, num_mel_bins=20)), CompileOptions(precision="bfloat16", **plan)
    )
    made.vocoder = CompiledHifiGan(
        vocoders.lively(vocoders.config()), VocoderOptions(precision="bfloat16", windows=(64,), **plan)
    )
    return made


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where each plan's script is written, once for the module."""
    return {name: tmp_path_factory.mktemp("emitted") / "script" for name in PLANS}


def written(name: str, folders: dict[str, Path]) -> Path:
    if not folders[name].exists():
        with ExactSums():  # as the stand-in's executor folds weights
            emit(compiled(name), folders[name], **SIZES)
    return folders[name]


@pytest.mark.parametrize(
    ("name", "steps", "how"),
    [
        ("n150", 70, {"read_every": 8}),
        ("n150", 66, {"trace": True}),
        ("mixed weights, all optional passes", 66, {"read_every": 8}),
        ("weights in blocks, no views", 66, {"read_every": 8}),
    ],
)
def test_it_speaks_as_the_executor_does(name: str, steps: int, how: dict[str, Any], folders: dict[str, Path]) -> None:
    """Bit for bit over the stand-in for ttnn, into the second bucket of steps, and by the same calls."""
    folder, model = written(name, folders), compiled(name)
    ids, voice = tokens(model.config, inside.LENGTH), speaker(model.config)
    device = BOARDS[PLANS[name]["board"]].device
    with ExactSums():
        theirs, ours = (
            inside.spoken(where, model, stand_in(), Device(device), ids, voice, steps, **how)
            for where in (folder, None)
        )
    assert theirs[0].shape[0] == steps * model.config.reduction_factor
    assert torch.equal(theirs[0], ours[0]) and torch.equal(theirs[1], ours[1])
    assert theirs[2].calls == ours[2].calls, [*differences(ours[2].calls, theirs[2].calls, ours[2].texts)][:3]
    for op in ("conv1d", "conv2d", "conv_transpose2d"):
        assert held_on_to(theirs[2], ours[2], op) == 0
    # Masks and rows that are looked up by position come before the layers, and live a little longer.
    assert held_on_to(theirs[2], ours[2], "transformer.scaled_dot_product_attention") <= ROWS
    assert held_on_to(theirs[2], ours[2], "layer_norm") <= ROWS


@pytest.mark.parametrize("read_every", [1, 8])
def test_it_stops_where_the_executor_does(read_every: int, folders: dict[str, Path]) -> None:
    """By itself, between the fewest and the most steps; the end of the text is padding, which nothing attends to."""
    folder, model = written("n150", folders), compiled("n150")
    ids, voice = tokens(model.config, inside.LENGTH).clone(), speaker(model.config)
    ids[:, -3:] = model.constants.pad_token
    how = {"fewest": 3, "threshold": THRESHOLD, "read_every": read_every}
    with ExactSums():
        theirs, ours = (
            inside.spoken(where, model, stand_in(), Device(BOARDS["n150"].device), ids, voice, 30, **how)
            for where in (folder, None)
        )
    assert 3 < len(ours[0]) / model.config.reduction_factor < 30, "the threshold must be reached between"
    assert torch.equal(theirs[0], ours[0])


def held_on_to(theirs: Any, ours: Any, op: str) -> int:
    """The most bytes of L1 that are in use after a call of the script, and not after that call of the executor."""
    calls = [digest for digest, text in theirs.texts.items() if text.startswith(f"ttnn.{op}(")]
    worst = max(theirs.live[digest] - ours.live[digest] for digest in calls)
    return worst


def test_a_speech_that_is_shorter_than_a_window(folders: dict[str, Path]) -> None:
    """It goes through the vocoder that masks what is behind its end."""
    folder, model = written("n150", folders), compiled("n150")
    ids, voice = tokens(model.config, inside.LENGTH), speaker(model.config)
    with ExactSums():
        theirs, ours = (
            inside.spoken(where, model, stand_in(), Device(BOARDS["n150"].device), ids, voice, 5)
            for where in (folder, None)
        )
    assert len(ours[0]) < SIZES["frames"]
    assert torch.equal(theirs[1], ours[1])
    for op in ("conv1d", "conv2d", "conv_transpose2d"):
        assert held_on_to(theirs[2], ours[2], op) <= MASKS
    assert not ours[2].calls - theirs[2].calls
    assert len(theirs[2].calls - ours[2].calls) == 2, "the mask of the next bucket is there from the beginning"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["p150", "mixed weights, all optional passes"])
def test_ttnn_gets_the_same_calls(name: str, tmp_path: Path, mocks: Mocks) -> None:
    """The real ttnn, on its mock: its own objects are made, its own tensors handed from call to call."""
    folder, model = tmp_path / "script", compiled(name)
    emit(model, folder, **SIZES)  # weights folded as the other process folds them, not with the stand-in's sums
    given = model, tokens(model.config, inside.LENGTH), speaker(model.config), 66
    theirs, ours = (mocks[PLANS[name]["board"]].call(inside.calls, where, *given) for where in (folder, None))
    assert theirs[0] == ours[0], [*differences(ours[0], theirs[0], ours[1])][:3]


def differences(ours: Any, theirs: Any, texts: dict[str, str]) -> Any:
    return (texts[digest] for digest in ours - theirs)


@pytest.mark.slow
@pytest.mark.parametrize("board", [*BOARDS])
def test_it_runs_alone(board: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """In a folder of its own, where neither this project nor transformers can be imported."""
    folder = tmp_path / "script"
    emit(compiled("n150").for_board(board), folder, **SIZES)
    torch.save(speaker(compiled("n150").config)[0], tmp_path / "voice.pt")
    driver = (
        "import runpy, sys\n"
        "for name in ('compiler', 'lowering', 'passes', 'transformers'): sys.modules[name] = None\n"
        "import ttnn\n"
        # ttnn's own ops are refused by a mock of two chips that dispatches from ethernet cores, as a card does
        "opened, worker = ttnn.open_mesh_device, ttnn.DispatchCoreConfig(ttnn.DispatchCoreType.WORKER)\n"
        "ttnn.open_mesh_device = lambda *given, **how: opened(*given, dispatch_core_config=worker, **how)\n"
        f"runpy.run_path({str(folder / SCRIPT)!r}, run_name='__main__')\n"
    )
    asked = ["--ids", "4", "5", "6", "--steps", "3", "--speaker", "voice.pt", "-o", "speech.wav"]
    run = (subprocess.run if board == "n150" else run_with_ttnn)(
        [sys.executable, "-I", "-c", driver, *asked],
        cwd=tmp_path,
        env=mock.environment(board),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "s of sound: speech.wav" in run.stdout and (tmp_path / "speech.wav").stat().st_size > 44


@pytest.mark.parametrize("name", PLANS)
def test_its_form_is_the_formatters(name: str, folders: dict[str, Path]) -> None:
    script = str(written(name, folders) / SCRIPT)
    for command in (["format", "--check"], ["check"]):
        given = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", script]
        run = subprocess.run(given, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


def test_layers_are_loops(folders: dict[str, Path]) -> None:
    text = (written("n150", folders) / SCRIPT).read_text()
    assert text.count("for i in range(2):") >= 2
    assert 'layer = f"wrapped_decoder.layers.{i}"' in text
    assert "wrapped_decoder.layers.0." not in text.partition("def step(")[2].partition("\nclass ")[0]


@pytest.mark.parametrize(
    ("changes", "sizes", "reason"),
    [
        ({"precision": "float32"}, {}, "compile with precision='bfloat16'"),
        ({"batch_size": 2}, {}, "batch_size=2: a script speaks one text at a time"),
        ({"postnet": "exact"}, {}, "postnet='exact': a script is written for postnet='bucket' only"),
        ({}, {"text": 10**6}, "text=1000000: the model was compiled for 1 to"),
        ({}, {"steps": 0}, "steps=0: the model was compiled for 1 to 140"),
    ],
)
def test_what_cannot_be_written_is_refused(
    changes: dict[str, Any], sizes: dict[str, int], reason: str, tmp_path: Path
) -> None:
    model = CompiledSpeechT5(
        lively(small(max_speech_positions=140)), CompileOptions(**{"precision": "bfloat16", **changes})
    )
    with pytest.raises(InvalidArgument, match=reason.replace("(", r"\(")):
        emit(model, tmp_path / "script", **sizes)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("option", "least"), [("--text", 1), ("--steps", 1), ("--frames", 2)])
def test_a_length_of_nothing_is_refused_before_a_model_is_loaded(
    option: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compiler.cli.chosen.compiled_model", None)
    made = CliRunner().invoke(app, ["emit", "-o", str(tmp_path / "script"), option, str(least - 1)])
    assert made.exit_code == 2 and f"at least {least} is expected" in made.output


def test_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="is there already: name a new folder"):
        emit(compiled("n150"), tmp_path, **SIZES)


@pytest.fixture(scope="module")
def small_voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the small voice's script is, which has a tokenizer and speakers."""
    folder = tmp_path_factory.mktemp("small") / "script"
    emit(compile_speecht5(checkpoint.SMALL_VOICE, precision="bfloat16"), folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (["--text", "h€llo"], "--text: the tokenizer does not know ['€']"),
        (["--text", " "], "--text: the text is empty"),
        (["--text", "a" * 500], "a text of 1 to 64 tokens is expected, not of 502"),
        ([], "by --ids or --text a text of 1 to 64 tokens is expected, not of 0"),
        (["--ids", "4", "-o", "none/x.wav"], "--output none/x.wav: name a file in a folder that is there"),
        (["--ids", "4", "-o", "."], "--output .: name a file in a folder that is there"),
        (["--ids", "4", "--steps", "0"], "--steps 1 to"),
        (["--ids", "4"], "ttnn could not open a device: TT_FATAL: no chips"),
    ],
)
def test_what_it_cannot_do_it_says_before_it_speaks(
    asked: list[str],
    reason: str,
    small_voice: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise RuntimeError("TT_FATAL: no chips\nbacktrace:\n --- a frame of C++")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [SCRIPT, *asked])
    ttnn = stand_in()
    ttnn.open_mesh_device, ttnn.MeshShape = opened, lambda *sizes: sizes
    with script(small_voice / SCRIPT, ttnn) as module, pytest.raises(SystemExit) as ended:
        module.main()
    said = f"{ended.value.code}{capsys.readouterr().err}"
    assert reason in said and "C++" not in said
    assert not os.listdir(tmp_path)


@pytest.mark.slow
def test_the_readme_shows_the_small_voices_decoder_layer(small_voice: Path, request: pytest.FixtureRequest) -> None:
    text = (small_voice / SCRIPT).read_text()
    assert len(text.splitlines()) <= LINES
    step = text.partition("def step(")[2]
    layer = textwrap.dedent(step[step.index("        for i in range(") : step.index("        del mask")])
    page = Path(__file__).parents[2] / "README.md"
    before, _, rest = page.read_text().partition("```py\n")
    _, _, after = rest.partition("```")
    if request.config.getoption("--update-golden"):
        page.write_text(f"{before}```py\n{layer}```{after}")
    assert f"```py\n{layer}```" in page.read_text(), "make it anew with --update-golden"
