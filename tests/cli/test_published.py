"""The page on the published checkpoints: its commands, run as printed on a replica of the hub's cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import soundfile
import torch

from compiler.errors import InvalidArgument
from compiler.speecht5 import checkpoint, speakers, speaking
from tests import published
from tests.fidelity.test_generate_speech import BAR

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "published_checkpoints.md").read_text()
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    published.hub(folder, "pytorch_model.bin")
    return folder


def folders(home: Path) -> tuple[str, str]:
    """Where the model's files are in a cache, and the vocoder's."""
    model, vocoder = (f"models--{name.replace('/', '--')}" for name in (published.MODEL, published.VOCODER))
    return str(next((home / "hub" / model / "snapshots").iterdir())), str(
        next((home / "hub" / vocoder / "snapshots").iterdir())
    )


@pytest.fixture(scope="module")
def shell(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a command in one folder for all of the page, as a user who has the replica in place of a network."""
    work = tmp_path_factory.mktemp("work")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))},
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    (work / ".venv/bin").mkdir(parents=True)
    (work / ".venv/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (work / ".venv/bin/python").chmod(0o755)

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    run.work = work  # type: ignore[attr-defined]
    return run


@pytest.mark.slow
def test_the_commands_of_the_page(shell: Any) -> None:
    assert len(COMMANDS) == 2
    for command in COMMANDS:
        said = shell("bash", "-euc", command)
    match = re.fullmatch(r"(\d+\.\d\d) s of sound in (\d+) steps, real-time factor .*: hello\.wav\n", said)
    assert match is not None, said
    sound = soundfile.info(shell.work / "hello.wav")
    assert (sound.samplerate, sound.channels, sound.subtype) == (16000, 1, "PCM_16")
    steps = int(match[2])
    assert 10 < steps < 200 and sound.frames == steps * 2 * 256
    assert numpy.abs(soundfile.read(shell.work / "hello.wav")[0]).max() > 0.01, "silence"
    assert numpy.array_equal(numpy.load(shell.work / "slt.npy"), published.xvector(published.UTTERANCES[1]))


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.safetensors"])
def test_weights_of_either_form_are_all_there(weights: str, tmp_path: Path) -> None:
    published.hub(tmp_path, weights)
    model, vocoder = folders(tmp_path)
    voice = checkpoint.load_voice(model, vocoder)
    config = voice.model.config
    assert (config.max_text_positions, config.max_speech_positions, config.vocab_size) == (600, 1876, 81)
    written = published.weights_of(Path(model, weights))
    table = "encode_positions.pe"
    assert {name for name in written if name.endswith(table)} == {
        f"speecht5.{part}.prenet.{table}" for part in ("encoder", "decoder")
    }
    for loaded, held in ((voice.model, written), (voice.vocoder, published.weights_of(Path(vocoder, weights)))):
        state = loaded.state_dict()
        assert {name for name in held if not name.endswith(table)} == set(state)
        assert all(torch.equal(tensor, held[name]) for name, tensor in state.items())


@pytest.fixture(scope="module")
def voice(home: Path) -> checkpoint.Voice:
    return checkpoint.load_voice(*folders(home))


def test_the_tokenizer_is_the_published_one_in_what_matters(voice: checkpoint.Voice) -> None:
    assert len(voice.tokenizer) == 81
    assert voice.tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<ctc_blank>"]) == [
        *range(4),
        79,
        80,
    ]
    ids = voice.tokenizer("Hello, my dog is cute.").input_ids
    assert len(ids) == len("Hello, my dog is cute.") + 2, "a word's beginning, a token for each character, the end"
    assert ids[-1] == 2 and 3 not in ids


@pytest.mark.slow
def test_the_python_of_the_page(
    voice: checkpoint.Voice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With stand-ins for what takes a network: the package ``datasets``, and the hub."""

    def rows(name: str, split: str, revision: str) -> dict[int, dict[str, Any]]:
        assert (name, split, revision) == (published.SPEAKERS, "validation", "refs/convert/parquet")
        vector = [float(number) for number in published.xvector(published.UTTERANCES[1])]
        return {7306: {"filename": "cmu_us_slt_arctic-wav-arctic_a0508", "xvector": vector}}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=rows))
    monkeypatch.setattr(checkpoint, "load_voice", lambda *names: {(published.MODEL, published.VOCODER): voice}[names])
    row, speech = PYTHON
    exec(row, {})
    assert numpy.array_equal(numpy.load("row.npy"), published.xvector(published.UTTERANCES[1]))
    Path("row.npy").rename("slt.npy")
    exec(speech, {})
    said = re.fullmatch(r"\((\d+),\) relative error (\S+)\n", capsys.readouterr().out)
    assert said is not None
    assert int(said[1]) > 16000 // 4 and float(said[2]) <= BAR


ADVICE = {
    "no speaker": (
        lambda voice: speaking.prepare(voice, "Hello."),
        "the checkpoint has no speakers: name a file",
    ),
    "no vocoder": (
        lambda voice: speaking.prepare(checkpoint.Voice(voice.model, voice.tokenizer, {}, None), "Hello.", "slt.npy"),
        "the checkpoint has no vocoder",
    ),
    "no such file": (
        lambda voice: speakers.embedding(voice, "slt.npy"),
        "there is no speaker file 'slt.npy'",
    ),
    "digits": (
        lambda voice: speaking.prepare(voice, "Chapter 2", "slt.npy"),
        "the tokenizer does not know '2'",
    ),
}


@pytest.mark.parametrize("name", ADVICE)
def test_what_the_page_says_of_errors(
    name: str, voice: checkpoint.Voice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    fail, message = ADVICE[name]
    with pytest.raises(InvalidArgument) as raised:
        fail(voice)  # type: ignore[no-untyped-call]
    assert str(raised.value).startswith(message)
    assert f"| `{message}` |" in PAGE


def test_a_vector_of_another_model(voice: checkpoint.Voice, tmp_path: Path) -> None:
    numpy.save(tmp_path / "other.npy", numpy.zeros(192, numpy.float32))
    with pytest.raises(InvalidArgument, match=r"is float32 \[192\], and the model takes 512 real numbers"):
        speakers.embedding(voice, str(tmp_path / "other.npy"))
    assert "has a vector of shape [192], and the model takes 512 numbers`" in PAGE
