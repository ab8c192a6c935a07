"""Arguments of the Python interface that are of another type than asked for: refused in words, by their names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import compiler
from compiler import InvalidArgument, arguments, checkpoint, speaking
from compiler.compiled import saving
from compiler.inspect import recording
from compiler.speecht5.voice import Voice
from tests.shared import small_voice

IDS, MASK = torch.full((1, 5), 6), torch.ones(1, 5)
SPEAKER = torch.ones(1, 16)


def refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        call()


@pytest.fixture(scope="module")
def voice() -> Voice:
    return small_voice()[0]


@pytest.fixture(scope="module")
def compiled() -> Any:
    return small_voice()[1]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("value", [1.5, "a", True, None, torch.tensor(1.5), [1]], ids=str)
def test_a_length_is_a_whole_number(compiled: Any, value: Any) -> None:
    planned = compiled.with_plan(precision="bfloat16")
    for call in (
        lambda: compiled.graph("encoder", text=value),
        lambda: compiled.stages("encoder", text=value),
        lambda: compiled.sizes(text=value),
        lambda: compiler.check(planned, "n150", text=value),
    ):
        refused(call, f"text={value!r}: a whole number from 1 to 200 is expected")
    if value is not None:  # which means the default there
        for call in (
            lambda: compiler.save(compiled, "new", text=value),
            lambda: saving.save(compiled, "new", text=value),
            lambda: compiler.emit(planned, "new", text=value),
            lambda: compiler.emit(planned, "new", steps=value),
        ):
            refused(call, ": a whole number from 1 to ")
    assert not Path("new").exists()


def test_whole_numbers_of_other_kinds_are_taken(compiled: Any) -> None:
    assert compiled.sizes(text=torch.tensor(33)) == compiled.sizes(text=33)
    assert type(arguments.length("text", torch.tensor(33), 40)) is int


@pytest.mark.parametrize("value", [None, 3, b"folder", ""], ids=str)
def test_a_path_is_a_path(compiled: Any, value: Any) -> None:
    planned, speech = compiled.with_plan(precision="bfloat16"), speaking.Speech(torch.zeros(4), 16000, 1, 0.1)
    for name, call in {
        "path": lambda: speech.save(value),
        "folder": lambda: compiler.load(value),
        "folder ": lambda: compiler.save(compiled, value),
        "folder  ": lambda: saving.save(compiled, value),
        "folder   ": lambda: compiler.emit(planned, value),
        "folder    ": lambda: recording.record(planned, value),
    }.items():
        refused(call, f"{name.strip()}={value!r}: {'no file and no folder' if value == '' else 'a path is expected'}")


def test_a_compiled_model_is_expected(voice: Voice) -> None:
    for call in (
        lambda: compiler.save(voice.model, "new"),
        lambda: saving.save(voice.model, "new"),
        lambda: compiler.check(voice.model, "n150"),
        lambda: recording.record(voice.model, "new"),
        lambda: compiler.emit(voice.model, "new"),
        lambda: speaking.speak(voice, voice.model, "one"),
        lambda: speaking.stream(voice, voice.model, "one"),
    ):
        refused(call, ", as compiler.compile_speecht5 returns it, got SpeechT5ForTextToSpeech")
    assert not Path("new").exists()


def test_names_of_boards_and_graphs(compiled: Any) -> None:
    planned = compiled.with_plan(precision="bfloat16")
    refused(lambda: compiler.check(planned, None), "boards=None: a name is expected, or several")
    refused(lambda: compiler.check(planned, 3), "boards=3: a name is expected, or several")
    refused(lambda: compiler.check(planned, ["n150", 3]), "boards=['n150', 3]: a name is expected, or several")
    refused(lambda: compiler.check(planned, "n151"), "boards=n151: ")
    refused(lambda: compiler.check(planned, "n150", graphs=3), "graphs=3: a name is expected, or several")
    refused(
        lambda: compiler.check(planned, "n150", graphs="encode"), "there is no graph 'encode': did you mean 'encoder'?"
    )
    refused(lambda: compiler.check(planned, "n150", time_limit="1"), "time_limit='1': a finite number is expected")


def test_a_speaker_is_a_name_or_a_file(voice: Voice, compiled: Any) -> None:
    for value, said in ((SPEAKER, "Tensor"), (3, "int"), (["anna"], "list")):
        for call in (
            lambda value=value: compiler.speak("one", speaker=value),
            lambda value=value: speaking.speak(voice, compiled, "one", value),
            lambda value=value: speaking.stream(voice, compiled, "one", value),
        ):
            refused(call, f"speaker: a name or a file is expected, got {said}: generate_speech takes a vector")
    refused(lambda: compiler.speak("one", speaker=Path("me.npy")), "there is no speaker file 'me.npy'")


def test_a_checkpoint_is_named(voice: Voice) -> None:
    for call in (
        lambda: checkpoint.load_voice(3),
        lambda: checkpoint.load_model(None),
        lambda: checkpoint.load_vocoder(voice.model),
        lambda: checkpoint.load_tokenizer(3),
        lambda: compiler.speak("one", model=voice.model),
    ):
        refused(call, "a checkpoint is named by its folder or by OWNER/NAME on the hub, and not by a ")
    refused(lambda: checkpoint.load_voice(Path("none")), "there is no checkpoint folder 'none'")
    refused(
        lambda: speaking.speak(voice.model, small_voice()[1], "one"), "a voice is expected, as compiler.checkpoint."
    )


def test_what_is_called_back_is_a_function(voice: Voice, compiled: Any) -> None:
    planned = compiled.with_plan(precision="bfloat16")
    for call in (
        lambda: compiled.generate_speech(IDS, SPEAKER, progress=3),
        lambda: compiled.stream_speech(IDS, SPEAKER, progress=3),
        lambda: speaking.speak(voice, compiled, "one", progress=3),
        lambda: speaking.stream(voice, compiled, "one", progress=3),
        lambda: compiler.save(compiled, "new", progress=3),
        lambda: compiler.emit(planned, "new", progress=3),
        lambda: compiler.check(planned, "n150", progress=3),
    ):
        refused(call, "progress=3: a function is expected, or None")
    refused(lambda: speaking.speak(voice, compiled, "one", piece=3), "piece=3: a function is expected")
    refused(lambda: speaking.stream(voice, compiled, "one", executor=3), "executor: what `with compiler.open_device()")


META, SPARSE = " on the device meta, which holds no numbers", " in the layout sparse_coo: make it dense with to_dense()"


def test_tensors_whose_numbers_cannot_be_read_say_so(compiled: Any) -> None:
    for to, why in ((lambda t: t.to("meta"), META), (lambda t: t.to_sparse(), SPARSE)):
        refused(lambda to=to: compiled.generate_speech(to(IDS), SPEAKER), f"got int64 [1, 5]{why}")
        refused(lambda to=to: compiled.generate_speech(IDS, to(SPEAKER)), f"got float32 [1, 16]{why}")
        refused(lambda to=to: compiled.generate_speech(IDS, SPEAKER, to(MASK)), f"got float32 [1, 5]{why}")
        inputs = {port.name: torch.zeros(port.value.type.shape) for port in compiled.encoder.graph.inputs}
        inputs["input_ids"] = to(inputs["input_ids"])
        refused(
            lambda inputs=inputs: compiled.encoder.run(inputs), f"a dense tensor is expected, got float32 [1, 32]{why}"
        )


def test_a_graph_runs_on_a_dictionary_of_tensors(compiled: Any) -> None:
    refused(lambda: compiled.encoder.run(IDS), "encoder takes a dictionary of ['input_ids', ")
    inputs = {port.name: [[1]] for port in compiled.encoder.graph.inputs}
    refused(lambda: compiled.encoder.run(inputs), "encoder: input 'input_ids': a dense tensor is expected, got list")
