"""A saved SpeechT5 speaks as the compiled one does, bit for bit, where there is no transformers and no tracing."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import compiler
from compiler import CompiledSpeechT5, CompileOptions, InvalidArgument, SpeechTooLong, UnsupportedModel
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5 import checkpoint, speaking
from compiler.speecht5.quiet import quiet
from compiler.speecht5.tokenizer import PieceTokenizer, StoredTokenizer
from compiler.speecht5.voice import Voice
from tests.compiler.test_saving import sealed
from tests.device.standin.models import compiled as planned
from tests.device.standin.module import executor_on
from tests.device.standin.sums import ExactSums
from tests.fidelity.conftest import Pair
from tests.fidelity.test_generate_speech import padded_batch
from tests.models import speaker, tokens

TEXT = "four nine three"


@pytest.fixture(scope="module")
def voice() -> Voice:
    with quiet():
        return checkpoint.load_voice(str(checkpoint.SMALL_VOICE))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """The small voice saved for short texts and speech, and what it says."""
    folder = tmp_path_factory.mktemp("saved") / "voice"
    with quiet():
        own = checkpoint.load_voice(str(checkpoint.SMALL_VOICE))
        compiled = compiler.compile_speecht5(str(checkpoint.SMALL_VOICE), vocoder=own.vocoder)
        compiler.save(compiled, folder, text=32, steps=64)
    return folder, speaking.speak(own, compiled, TEXT).sound


def said(model: CompiledSpeechT5, config: Any, **options: Any) -> list[torch.Tensor]:
    speech, lengths, attentions = model.generate_speech(
        padded_batch(config),
        speaker(config, rows=3),
        output_cross_attentions=True,
        return_output_lengths=True,
        generator=torch.Generator().manual_seed(7),
        **options,
    )
    return [speech, torch.tensor(lengths), attentions]


def test_rows_and_attentions_are_those_of_the_compiled_model(hesitant: Pair, tmp_path: Path) -> None:
    model, compiled = hesitant
    compiler.save(compiled, tmp_path / "model")
    loaded = compiler.load(tmp_path / "model")
    assert isinstance(loaded, CompiledSpeechT5) and loaded.voice is None
    assert (loaded.constants, loaded.limits, loaded.options) == (compiled.constants, compiled.limits, compiled.options)
    want = said(compiled, model.config)
    for other in (loaded, copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert all(map(torch.equal, said(other, model.config), want))
    for other in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert all(map(torch.equal, said(other, model.config), want))
    with pytest.raises(InvalidArgument, match="has no tokenizer, speakers and vocoder: save it with a voice"):
        from compiler.speecht5 import saved_voice

        saved_voice.described(tmp_path / "model").tokenizer()


@pytest.mark.parametrize("weights", ["mixed", "bfloat8_b"])
def test_a_device_is_handed_the_same_numbers(tmp_path: Path, weights: str) -> None:
    """Over the stand-in of ttnn, which keeps what it is handed: from the saved model and from the compiled one."""
    compiled = planned("two rows").with_plan(weights=weights)
    compiler.save(compiled, tmp_path / "model", steps=64)
    config, ratio = compiled.config, 4 * compiled.config.reduction_factor / 12
    made = []
    with ExactSums():
        for model in (compiled, compiler.load(tmp_path / "model")):
            assert isinstance(model, CompiledSpeechT5)
            for executor in (executor_on("n150"), ReferenceExecutor()):
                made.append(
                    model.generate_speech(
                        tokens(config, 12, rows=2),
                        speaker(config, rows=2),
                        minlenratio=ratio,
                        maxlenratio=ratio,
                        generator=torch.Generator().manual_seed(0),
                        executor=executor,
                    )
                )
    assert all(torch.equal(one, made[0]) for one in made[1:])


ELSEWHERE = """
import sys
import torch
REFUSED = ("transformers", "compiler.frontend", "torch.export", "torch._dynamo", "torch._inductor", "sympy")
there = {name for name in sys.modules if name.startswith(REFUSED)}  # torch imports the outside of torch.export

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(REFUSED):
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
import compiler
from compiler import speaking
loaded = compiler.load(sys.argv[1])
sound = speaking.speak(loaded.voice, loaded, sys.argv[2]).sound
assert {name for name in sys.modules if name.startswith(REFUSED)} == there
torch.save(sound, sys.argv[3])
"""


def test_it_speaks_where_transformers_and_tracing_cannot_be_imported(
    spoken: tuple[Path, torch.Tensor], tmp_path: Path
) -> None:
    folder, want = spoken
    command = [sys.executable, "-c", ELSEWHERE, str(folder), TEXT, str(tmp_path / "sound")]
    # On as many threads as here: another number may sum in another order.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(command, check=True, timeout=120, env=environment)
    assert torch.equal(torch.load(tmp_path / "sound"), want)


def test_longer_texts_go_in_pieces_and_longer_speech_is_refused(spoken: tuple[Path, torch.Tensor]) -> None:
    loaded = compiler.load(spoken[0])
    assert isinstance(loaded, CompiledSpeechT5) and loaded.voice is not None
    assert (loaded.limits.text_buckets, loaded.limits.step_buckets) == ((32,), (64,))
    assert speaking.speak(loaded.voice, loaded, "one two three four five six seven eight nine").pieces > 1
    with pytest.raises(InvalidArgument, match="the longest that the model was compiled for has 32"):
        loaded.generate_speech(torch.full((1, 33), 5), torch.zeros(1, 16))
    with pytest.raises(SpeechTooLong, match="the model was compiled for 64"):
        speaking.speak(loaded.voice, loaded, "one two three", minlenratio=15.0)


def test_tokens_are_those_of_transformers(voice: Voice, spoken: tuple[Path, torch.Tensor]) -> None:
    loaded = compiler.load(spoken[0])
    assert isinstance(loaded, CompiledSpeechT5) and loaded.voice is not None
    ours = loaded.voice.tokenizer
    assert isinstance(ours, PieceTokenizer)
    texts = ["", " ", "a", "Hello,  world! </s> <pad>", "naïve — 12 €", "\n\ttabs", "<unk>", "0.5%", "a" * 300, "🙂"]
    for text in texts:
        assert ours(text).input_ids == voice.tokenizer(text, split_special_tokens=True, verbose=False).input_ids
    assert ours.all_special_ids == list(voice.tokenizer.all_special_ids)
    assert (ours.pad_token_id, ours.padding_side) == (voice.tokenizer.pad_token_id, voice.tokenizer.padding_side)
    for several in ("one", ["one", "three"]):
        mine, theirs = ours(several, return_tensors="pt"), voice.tokenizer(several, padding=True, return_tensors="pt")
        assert {**mine}.keys() == {**theirs}.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    with pytest.raises(InvalidArgument, match="return_tensors='np': 'pt' is expected"):
        ours("one", return_tensors="np")  # type: ignore[arg-type]
    spelt = PieceTokenizer(ours.file, ours.numbers, True)
    with quiet():
        theirs = checkpoint.load_tokenizer(str(checkpoint.SMALL_VOICE), True)
    assert spelt("12 and 0.5%").input_ids == theirs("12 and 0.5%", split_special_tokens=True).input_ids


def test_a_tokenizer_of_another_kind_is_left_to_transformers(
    hesitant: Pair, voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy.deepcopy(voice.tokenizer)
    monkeypatch.setattr(type(other), "_tokenize", lambda self, text: self.sp_model.encode(text[::-1], out_type=str))
    kept = Voice(None, other, {}, None)
    compiler.save(hesitant[1], tmp_path / "model", voice=kept, text=32, steps=64)
    loaded = compiler.load(tmp_path / "model")
    assert isinstance(loaded, CompiledSpeechT5) and loaded.voice is not None
    assert isinstance(loaded.voice.tokenizer, StoredTokenizer)
    assert loaded.voice.tokenizer("abc").input_ids == other("abc").input_ids


def test_a_voice_brings_its_vocoder_and_no_other_class_is_saved(
    hesitant: Pair, voice: Voice, spoken: tuple[Path, torch.Tensor], tmp_path: Path
) -> None:
    loaded = compiler.load(spoken[0])
    assert isinstance(loaded, CompiledSpeechT5) and loaded.voice is not None and loaded.vocoder is not None
    assert loaded.voice.vocoder is loaded.vocoder
    assert loaded.vocoder.options.windows == (64, 96, 128), "as many frames as 64 steps make"
    assert copy.deepcopy(loaded).vocoder is not loaded.vocoder
    with pytest.raises(UnsupportedModel, match="a SpeechT5HifiGan, a folder or a hub name is expected as vocoder"):
        other = Voice(None, voice.tokenizer, {}, torch.nn.Identity())
        compiler.save(hesitant[1], tmp_path / "model", voice=other, text=32, steps=64)
    assert not list(tmp_path.iterdir())


def constants(**changes: Any) -> Any:
    return lambda folder: sealed(folder, lambda content: content["speech"]["constants"].update(changes))


def written(name: str) -> Any:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(b"\x80\x04cos\nsystem\n.")
        sealed(folder, lambda _: None)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (constants(mel_bins="80"), "speech.constants.mel_bins: a value of type int"),
        (constants(prenet_bias=[None]), r"speech.constants.prenet_bias\[0\]: a value of type float"),
        (constants(extra=1), "speech.constants: extra is unknown"),
        (lambda f: sealed(f, lambda c: c["speech"].update(text=4000)), "its graphs have other lengths than its speech"),
        (constants(mel_bins=4), "its vocoder takes other spectrograms"),
        (written("vocoder/saved_model.json"), "saved_model.json cannot be read as JSON"),
        (
            lambda f: sealed(f / "vocoder", lambda c: c),
            "'vocoder/saved_model.json' has|'vocoder/saved_model.json' does",
        ),
        (written("tokenizer/spm_char.model"), "the sentencepiece model .* cannot be read"),
        (written("speakers.safetensors"), "speakers.safetensors cannot be read"),
        (lambda f: sealed(f, lambda c: c.pop("speech")), "speech: an object is expected, got None"),
        (lambda f: shutil.rmtree(f / "vocoder"), "'vocoder/graphs/.*' is missing"),
    ],
)
def test_what_is_wrong_with_a_saved_voice_is_named(
    spoken: tuple[Path, torch.Tensor], tmp_path: Path, spoil: Any, message: str
) -> None:
    here = shutil.copytree(spoken[0], tmp_path / "voice")
    spoil(here)
    with pytest.raises(InvalidArgument, match=message):
        compiler.load(here)


def test_a_postnet_of_exact_length_is_not_saved(tmp_path: Path, tiny_model: Any) -> None:
    compiled = CompiledSpeechT5(tiny_model, CompileOptions(postnet="exact"))
    with pytest.raises(InvalidArgument, match="the graph postnet is compiled for the exact length of each run"):
        compiler.save(compiled, tmp_path / "model")
    assert not list(tmp_path.iterdir())
