"""``speak``: the sound file, whole or not at all."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

import compiler
from compiler import CompileOptions, InvalidArgument, SpeechTooLong
from compiler.speecht5 import checkpoint, sound, speakers, speaking
from tests.models import relative_error


def test_a_wav_of_the_spoken_length(run, voice, compiled):
    result = run("speak", "four nine three", "-o", "out.wav")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    info = soundfile.info("out.wav")
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_16", 1, 16000)
    samples, _ = soundfile.read("out.wav")
    assert 0.05 < np.abs(samples).max() <= 1.0
    speech = speaking.speak(voice, compiled, "four nine three")
    assert len(samples) == speech.sound.shape[0] == speech.steps * 2 * 256
    assert np.abs(samples - speech.sound.numpy()).max() < 1 / 2**14
    assert result.stdout.startswith(f"{len(samples) / 16000:.2f} s of sound in {speech.steps} steps, real-time factor ")
    assert result.stdout.endswith(": out.wav\n")
    assert os.listdir() == ["out.wav"]


def test_seed_and_speaker_decide_the_sound(run):
    def spoken(*options: object) -> bytes:
        assert run("speak", "seven", "-o", "x.wav", *options).exit_code == 0
        return Path("x.wav").read_bytes()

    first = spoken()
    assert spoken("--seed", 0, "--speaker", "angus") == first, "the first by name is the default"
    assert spoken("--seed", 1) != first
    assert spoken("--speaker", "anna") != first
    assert spoken("--max-len-ratio", 4) != first


def test_who_speaks_by_default_is_understood_best(voice):
    rates = json.loads((checkpoint.SMALL_VOICE / "evaluation.json").read_text())["words"]["voice"]["wer_by_speaker"]
    assert set(rates) == set(voice.speakers)
    assert torch.equal(speakers.embedding(voice)[0], voice.speakers[min(rates, key=rates.get)])


FORMS = {
    "[dim]": lambda vector: vector,
    "[1, dim]": lambda vector: vector[None],
    "[1, 1, dim]": lambda vector: vector[None, None],
    "float64": lambda vector: vector.double(),
}
FILES = {
    "npy": lambda vector, file: np.save(file, vector.numpy()),
    "NPY": lambda vector, file: np.save(file, vector.numpy()) or Path(f"{file}.npy").rename(file),
    "npz": lambda vector, file: np.savez(file, any=vector.numpy()),
    "pt": torch.save,
    "dictionary.pt": lambda vector, file: torch.save({"any": vector}, file),
    "safetensors": lambda vector, file: save_file({"any": vector}, file),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", FILES)
def test_a_speaker_from_a_file(voice, tmp_path, kind, form):
    file = str(tmp_path / f"me.{kind}")
    FILES[kind](FORMS[form](voice.speakers["anna"]), file)
    read = speakers.embedding(voice, file)
    assert read.dtype == torch.float32
    assert torch.equal(read, voice.speakers["anna"][None])


def test_a_speaker_from_a_file_is_spoken_with(run, voice):
    np.savez("me.npz", voice.speakers["anna"].numpy())
    assert run("speak", "one", "-o", "a.wav", "--speaker", "me.npz").exit_code == 0
    assert run("speak", "one", "-o", "b.wav", "--speaker", "anna").exit_code == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_speak_hands_options_to_the_compiler_and_reports_steps(run, compiled, voice, monkeypatch):
    seen = {}
    monkeypatch.setattr(compiler, "compile_speecht5", lambda model, **options: seen.update(options) or compiled)
    assert run("speak", "one", "--precision", "bfloat16", "--board", "p150").exit_code == 0
    assert seen.pop("vocoder").config.model_in_dim == voice.vocoder.config.model_in_dim
    assert seen == asdict(CompileOptions(precision="bfloat16", board="p150"))
    assert os.listdir() == ["speech.wav"]
    steps = []
    speech = speaking.speak(voice, compiled, "one", progress=lambda step, most: steps.append((step, most)))
    assert steps == [(i + 1, 50) for i in range(speech.steps)]
    assert speech.real_time_factor == pytest.approx(speech.seconds / (speech.sound.shape[0] / 16000))
    assert not speech.sound.requires_grad


def test_one_call_from_text_to_sound(voice, sounding, monkeypatch, tmp_path):
    """The small voice by default, compiled once; the sound is that of any other way to say the same."""
    from compiler.speecht5 import one_call

    monkeypatch.setattr(one_call, "_small_voice", lambda: voice)
    monkeypatch.setattr(one_call, "_small_compiled", lambda: sounding)
    speech = compiler.speak("one", speaker="anna", seed=3)
    assert torch.equal(speech.sound, speaking.speak(voice, sounding, "one", "anna", 3).sound)
    assert repr(speech) == f"Speech({speech.duration:.2f} s at 16,000 Hz, {speech.steps} steps)"
    speech.save(tmp_path / "one.wav")
    assert soundfile.info(tmp_path / "one.wav").frames == len(speech.sound)
    monkeypatch.setattr(one_call, "_small_compiled", lambda: pytest.fail("compiled"))
    for call, message in (
        (lambda: compiler.speak("7"), "the tokenizer does not know '7'"),
        (lambda: compiler.speak(7), "text: a str is expected, got int"),
        (lambda: compiler.speak("one", speaker="nobody"), "nobody"),
        (lambda: compiler.speak("one", model=tmp_path), "is no checkpoint folder"),
        (lambda: speech.save(tmp_path / "one.mp3"), "sound is written as WAV"),
        (lambda: speech.save(tmp_path / "nowhere" / "one.wav"), "there is no folder"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            call()
    assert [file.name for file in tmp_path.rglob("*.*") if file.is_file()] == ["one.wav"]


def test_the_compiled_vocoder_says_what_hugging_face_s_does(voice, compiled):
    sounding = compiler.compile_speecht5(voice.model, vocoder=voice.vocoder)
    want, got = (speaking.speak(voice, each, "one").sound for each in (compiled, sounding))
    assert compiled.vocoder is None and got.shape == want.shape
    assert relative_error(got, want) <= 1e-4


@pytest.mark.parametrize(
    ("raised", "code", "stderr"),
    [
        (
            OSError(28, "No space left on device"),
            1,
            "error: 'speech.wav' could not be written: No space left on device\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_what_was_there_stays_when_writing_fails(run, monkeypatch, raised, code, stderr):
    def fail(descriptor: int) -> None:
        raise raised

    Path("speech.wav").write_text("dear")
    monkeypatch.setattr(os, "fsync", fail)
    result = run("speak", "one")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", stderr)
    assert (os.listdir(), Path("speech.wav").read_text()) == (["speech.wav"], "dear")


@pytest.mark.parametrize(
    ("raised", "code", "stderr"),
    [(SpeechTooLong("too long"), 1, "error: too long\n"), (KeyboardInterrupt(), 130, "interrupted\n")],
)
def test_no_file_when_speaking_ends_early(run, compiled, monkeypatch, raised, code, stderr):
    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(type(compiled), "generate_speech", fail)
    result = run("speak", "one")
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", stderr)
    assert os.listdir() == []


def test_sound_replaces_the_file_behind_a_link(tmp_path):
    (tmp_path / "real.wav").write_text("old")
    (tmp_path / "link.wav").symlink_to("real.wav")
    sound.check_target(tmp_path / "link.wav")
    sound.write_wav(tmp_path / "link.wav", torch.tensor([0.0, 0.5, 2.0, -2.0]), 8000)
    assert (tmp_path / "link.wav").is_symlink()
    samples, rate = soundfile.read(tmp_path / "real.wav", dtype="int16")
    assert (samples.tolist(), rate) == ([0, 16384, 32767, -32768], 8000)
    assert len(list(tmp_path.iterdir())) == 2


def test_sound_that_is_no_sound(voice, compiled, monkeypatch):
    silent = checkpoint.Voice(voice.model, voice.tokenizer, voice.speakers, lambda s: torch.full((9,), torch.nan))
    with pytest.raises(compiler.CompilerError, match="infinite or not a number"):
        speaking.speak(silent, compiled, "one")


def test_a_name_goes_before_a_file(voice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros(16))
    named = checkpoint.Voice(voice.model, voice.tokenizer, {"a.npy": torch.ones(16)}, voice.vocoder)
    assert torch.equal(speakers.embedding(named, "a.npy"), torch.ones(1, 16))
    with pytest.raises(InvalidArgument):
        speakers.embedding(voice, "b.npy")
