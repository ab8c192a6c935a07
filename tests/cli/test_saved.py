"""``compile --output`` makes a saved model, and every command takes it as ``--model``."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compiler.cli import app
from compiler.speecht5.checkpoint import SMALL_VOICE
from tests.compiler.test_saving import sealed


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The small voice, saved once by the command; where it is, and what was printed."""
    folder = tmp_path_factory.mktemp("made") / "voice"
    result = CliRunner().invoke(app, ["compile", "-o", str(folder), "--text", "32", "--steps", "64"])
    return folder, result


@pytest.fixture
def saved(run, made, monkeypatch):
    shutil.copytree(made[0], "voice")
    monkeypatch.setattr("compiler.speecht5.checkpoint.load_model", lambda *_: pytest.fail("loaded the checkpoint"))
    monkeypatch.setattr("compiler.speecht5.checkpoint.load_vocoder", lambda *_: pytest.fail("loaded the vocoder"))
    return "voice"


def test_compile_says_what_it_saved(made):
    folder, result = made
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"saved: {folder}\n") and result.stderr == ""


def test_speak_is_the_same_and_other_commands_take_it(run, saved):
    assert run("speak", "four nine three", "-o", "a.wav", "--model", saved).exit_code == 0
    shown = run("inspect", "encoder", "--model", saved, "--no-origins")
    assert shown.exit_code == 0 and shown.stdout.startswith("graph encoder {")
    assert run("inspect", "vocoder", "--model", saved).stdout.startswith("graph vocoder {")
    listed = run("inspect", "encoder", "--model", saved, "--list")
    assert "final" in listed.stdout and "import" not in listed.stdout
    made = json.loads(run("compile", "--model", saved, "--json").stdout)
    assert [graph["aten_imported"] for graph in made["graphs"]] == [None] * 8 and made["precision"] == "float32"
    assert "–" in run("compile", "--model", saved).stdout
    cost = json.loads(run("cost", "--model", saved, "--json").stdout)
    assert "n150" in str(cost["graphs"]) and "p150" not in str(cost["graphs"])
    assert run("speak", "one", "-o", "b.wav", "--model", saved, "--stream").exit_code == 0
    assert run("compile", "--model", saved, "-o", "again").exit_code == 0
    assert sorted(os.listdir()) == ["a.wav", "again", "b.wav", "voice"]


def test_the_sound_is_that_of_the_checkpoint(run, made, sounding, monkeypatch):
    monkeypatch.setattr("compiler.compile_speecht5", lambda *_, **__: sounding)
    assert run("speak", "four nine three", "-o", "a.wav").exit_code == 0
    assert run("speak", "four nine three", "-o", "b.wav", "--model", made[0], "--precision", "float32").exit_code == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    named = ("--vocoder", SMALL_VOICE / "vocoder")
    assert run("speak", "four nine three", "-o", "c.wav", "--model", made[0], *named).exit_code == 0
    assert Path("a.wav").read_bytes() == Path("c.wav").read_bytes()
    assert run("speak", "four nine three", "-o", "d.wav").exit_code == 0
    assert Path("a.wav").read_bytes() == Path("d.wav").read_bytes(), "the second time is as the first"


BIAS = "speecht5.decoder.wrapped_decoder.layers.1.encoder_attn.v_proj.bias"


def test_a_saved_model_names_the_parameters_of_its_constants(run, saved):
    said = run("inspect", "--find", BIAS, "--model", saved).stdout
    assert "= (v_proj.bias.view(1, -1) @ out_proj.weight.T + out_proj.bias).view(1, 128)" in said
    assert "stage by stage" not in said
    assert f"{BIAS}\n  decoder_step: f32[1,128] tile dram = " in run("parameters", "--model", saved).stdout
    assert "history:\n  final\n" in run("inspect", "encoder", "--node", "linear", "--model", saved).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("speak", "one", "--board", "p150"), "--board p150: the saved model 'voice' was compiled with board='n150'"),
        (("speak", "one", "--precision", "bfloat16"), "--precision bfloat16: the saved model 'voice' was compiled"),
        (
            ("speak", "one", "--disable", "forward-row-through-relu"),
            "--disable forward-row-through-relu: the saved model 'voice' was compiled with",
        ),
        (("speak", "one", "--speaker", "nobody"), "there is no speaker 'nobody': the checkpoint has"),
        (("inspect", "encoder", "--stage", "import"), "there is no stage 'import': choose one of final"),
        (("inspect", "encoder", "--explain"), "--explain: a saved model has its final graphs alone"),
        (("inspect", "encoder", "--diff", "final"), "--diff: a saved model has its final graphs alone"),
        (("inspect", "--find", BIAS.replace("v_", "vv_")), "there is no parameter or buffer"),
        (
            ("inspect", "encoder", "--text", 33),
            "--text 33: the model was compiled for 1 to 32: the saved model ",
        ),
        (("check",), "--precision float32 runs on the reference executor only"),
        (("check", "--board", "n150", "--board", "n150"), "--precision float32 runs on the reference executor only"),
        (("check", "--board", "n150", "--board", "p150"), "--board n150 p150: the saved model 'voice' was compiled"),
        (("compile", "-o", "voice"), "'voice' holds a saved model: name another folder, or replace it with"),
        (("compile", "-o", "no/voice"), "there is no folder 'no'"),
        (("compile", "--overwrite"), "--overwrite goes with --output"),
    ],
)
def test_what_a_saved_model_cannot_do_is_refused(run, refused, saved, arguments, message):
    assert message in refused(*arguments, *(() if "-o" in arguments else ("--model", saved)))


def test_a_damaged_folder_is_refused_before_torch_is_imported(run, saved, tmp_path):
    file = Path(saved) / "graphs/encoder-text32.txt"
    file.write_text(file.read_text()[:-1])
    program = f"""
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
sys.argv = ["compiler", "speak", "one", "--model", {str(Path(saved).resolve())!r}]
from compiler.cli import app
from compiler.speecht5.checkpoint import SMALL_VOICE
app()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: the saved model ") and "'graphs/encoder-text32.txt' has" in done.stderr


def test_a_terminal_sees_what_is_going_on_from_the_start(run, saved):
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "compiler", "speak", "one", "--model", saved, "-o", "x.wav"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal) as running:
        os.close(terminal)
        seen = b""
        try:
            while more := os.read(screen, 1000):
                seen += more
        except OSError:
            pass  # how Linux says that the other side of a terminal is closed
        running.communicate(timeout=60)
    os.close(screen)
    said = [b"reading the text", b"importing torch, loading the saved model", b"speaking"]
    places = [seen.find(each) for each in said]
    assert running.returncode == 0 and -1 not in places and places == sorted(places), seen


def test_a_folder_without_a_voice_does_not_speak(run, refused, saved):
    sealed(Path(saved), lambda content: content["speech"].update(voice=None))
    assert "has no tokenizer, speakers and vocoder: save it with a voice" in refused("speak", "one", "--model", saved)
