"""The rung of words: what is heard of our sound, of Hugging Face's, and of Hugging Face's in the plan's type."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from compiler.inspect.ladder.records import Rung
from compiler.speecht5.verifying import hearing, referee
from compiler.speecht5.verifying.asked import Subject
from compiler.speecht5.verifying.subjects import SENTENCE, WORDS
from tests.shared import small_voice

OURS, THEIRS, OWN = (torch.full((1,), float(value)) for value in range(3))


def subject(text: str = "one two three.") -> Subject:
    return Subject(torch.empty(0), torch.empty(0), 0, text, 0, ("one", "two", "three"))


def climbed(heard: Sequence[str]) -> tuple[Rung, Callable[..., Any]]:
    """A rung under a recogniser that hears these of ours, of theirs and of their own."""

    def make(words: Sequence[str], rate: int) -> Any:
        assert (words, rate) == (("one", "two", "three"), 16_000)
        return lambda sound: heard[int(sound[0])].split()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(referee, "make_referee", make)
        return hearing.rung(subject(), OURS, THEIRS, OWN, "here"), make


@pytest.mark.parametrize(
    ("ours", "theirs", "own", "verdict"),
    [
        ("one two three", "one two three", "one two three", "pass"),
        ("one two two", "one three three", "one two three", "pass"),
        ("one two two", "one two three", "two three", "as theirs"),
        ("one", "one two three", "two three", "FAIL"),
    ],
)
def test_as_many_words_are_heard_as_of_hugging_face(ours: str, theirs: str, own: str, verdict: str) -> None:
    rung, _ = climbed((ours, theirs, own))
    assert rung.verdict == verdict
    assert f"of 3, heard: {ours}" == rung.note
    assert rung.wrong == 3 - sum(a == b for a, b in zip(ours.split(), ["one", "two", "three"], strict=False))


def test_without_a_recogniser_the_rung_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    rung = hearing.rung(subject(), OURS, THEIRS, OWN, "here")
    assert rung.verdict == "not run" and rung.passed
    assert "pip install pocketsphinx" in rung.left_out


def test_the_real_recogniser_hears_the_small_voice() -> None:
    """And less of it in noise."""
    pytest.importorskip("pocketsphinx", reason="the project's extra `voice` is not installed")
    voice, _ = small_voice()
    ids = voice.tokenizer(SENTENCE, return_tensors="pt").input_ids
    torch.manual_seed(0)
    sound = voice.model.generate_speech(ids, voice.speakers["anna"][None], vocoder=voice.vocoder)
    said = Subject(ids, voice.speakers["anna"][None], 0, SENTENCE, 0, tuple(WORDS.read_text().split()))
    heard = hearing.rung(said, sound, sound, None, "here")
    assert (heard.wrong, heard.verdict) == (0, "pass")
    noise = 0.1 * torch.randn(len(sound), generator=torch.Generator().manual_seed(0))
    assert hearing.rung(said, noise, sound, None, "here").verdict == "FAIL"
