"""What scripts/small_voice says of the voice: its counts, and that the pages have the figures that were measured."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import typer
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from compiler.speecht5.checkpoint import SMALL_VOICE
from compiler.speecht5.verifying import referee

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts" / "small_voice"


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The scripts as modules; they import each other as they do when they are run, by plain names."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        names = ("card", "corpus", "evaluate_compiled", "spectra", "train_vocoder")
        yield SimpleNamespace(**{name: import_module(name) for name in names})
    for name in set(sys.modules) - before:
        if (SCRIPTS / f"{name}.py").is_file():
            del sys.modules[name]


WORD_ERRORS = {
    ("one two three", "one two three"): (0, 0, 0),
    ("one two three", "one too three"): (1, 0, 0),
    ("one two three", "one three"): (0, 0, 1),
    ("one two three", "one two two three"): (0, 1, 0),
    ("one two", ""): (0, 0, 2),
    ("one", "two three one"): (0, 2, 0),
    ("one two three four", "two three five"): (1, 0, 1),
}


@pytest.mark.parametrize(("spoken", "heard"), WORD_ERRORS)
def test_word_errors_are_the_fewest(spoken: str, heard: str) -> None:
    found = referee.word_errors(spoken.split(), heard.split())
    assert (found.substituted, found.inserted, found.deleted) == WORD_ERRORS[spoken, heard]
    assert found.rate == sum(WORD_ERRORS[spoken, heard]) / len(spoken.split())


class Remembering:
    """A recogniser like pocketsphinx's, whose front end remembers earlier sounds until it is set up anew."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.memory, self.heard = settings, 0.0, 0.0

    def reinit_feat(self) -> None:
        self.memory = 0.0

    def start_utt(self) -> None:
        self.heard = self.memory

    def process_raw(self, samples: bytes, full_utt: bool) -> None:
        assert full_utt
        self.heard += float(np.frombuffer(samples, np.int16).sum())

    def end_utt(self) -> None:
        self.memory = self.heard

    def hyp(self) -> Any:
        return SimpleNamespace(hypstr=f"heard {self.heard:.0f}") if self.heard else None


def test_what_is_heard_does_not_depend_on_earlier_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", SimpleNamespace(Decoder=Remembering))
    listen = referee.make_referee(("heard",), 16_000)
    loud, silent = np.array([1, 2], dtype=np.float32), np.zeros(2, dtype=np.float32)
    assert [listen(loud), listen(loud), listen(silent)] == [["heard", "65534"]] * 2 + [[]]


def test_phrases_are_unseen_and_begin_with_those_of_the_card(scripts: Any) -> None:
    corpus, phrases = scripts.corpus, scripts.evaluate_compiled.unseen_phrases()
    said = [corpus.words_of(p.text) for p in phrases]
    assert len(set(said)) == len(said) >= 200
    assert not corpus.taught().intersection(said)
    assert [p.speaker for p in phrases] == list(corpus.SPEAKERS) * (len(said) // 2), "speakers take turns"
    tested = [
        (text, who)
        for who in corpus.SPEAKERS
        for text in corpus.phrases("test", who)
        if corpus.words_of(text) not in corpus.taught()
    ]
    figures = json.loads((SMALL_VOICE / scripts.card.FIGURES).read_text())
    assert len(tested) == figures["phrases"]
    first = {p.seed: (p.text, p.speaker) for p in phrases[:200] if p.seed < len(tested)}
    assert first == dict(enumerate(tested)), "the seeds are those of evaluate.py's first reading"


def made(scripts: Any) -> dict[str, Any]:
    """Figures of three phrases, of which another way understood one better, one worse and one the same."""
    module = scripts.evaluate_compiled
    phrases = [module.Phrase(*p) for p in (("one, two", "anna", 0), ("red", "angus", 1), ("six ten.", "anna", 2))]
    heard = {
        module.THEIRS: (("one", 10), ("red", 4), ("six ten", 8)),
        "other": (("one two", 10), ("red red", 6), ("six ten", 8)),
    }
    read = {
        name: [module.Reading(tuple(words.split()), frames, frames != 6) for words, frames in readings]
        for name, readings in heard.items()
    }
    figures: dict[str, Any] = module.figures_of(phrases, read)
    return figures


def test_figures_compare_phrase_by_phrase(scripts: Any) -> None:
    figures = made(scripts)
    theirs, other = figures["ways"].values()
    assert (figures["phrases"], figures["phrase_words"]) == (3, 5)
    assert (theirs["wer"], theirs["deleted"], other["wer"], other["inserted"]) == (0.2, 1, 0.2, 1)
    assert theirs["wer_by_speaker"] == {"anna": 0.25, "angus": 0} and other["wer_by_speaker"] == {"anna": 0, "angus": 1}
    counts = ("same_words", "fewer_errors", "more_errors", "same_length", "stopped")
    assert [theirs[count] for count in counts] == [3, 0, 0, 3, 3]
    assert [other[count] for count in counts] == [1, 1, 1, 2, 2]
    assert [(reading["heard"], reading["otherwise"]) for reading in figures["readings"]] == [
        ("one", {"other": "one two"}),
        ("red", {"other": "red red"}),
        ("six ten", {}),
    ]


def test_figures_are_printed_as_a_table(scripts: Any) -> None:
    assert scripts.evaluate_compiled.summary(made(scripts)).splitlines() == [
        "3 phrases, 5 words; 5 of 6 readings stopped by themselves",
        "",
        "| read by | word error rate | anna | angus | same words | fewer errors | more errors | same length |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| Hugging Face, float32 | 0.200 | 0.250 | 0.000 | | | | |",
        "| other | 0.200 | 0.000 | 1.000 | 1 | 1 | 1 | 2 |",
    ]


class Model:
    """A model that speaks the random numbers which it draws, ``steps`` steps of them."""

    config = SimpleNamespace(reduction_factor=2)

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def generate_speech(self, ids: torch.Tensor, speaker: torch.Tensor, *, vocoder: Any, **_: Any) -> torch.Tensor:
        return vocoder(torch.rand(self.steps * 2, 80) + speaker.sum())


def test_a_reading_is_decided_by_seed_and_speaker_and_ends_before_its_limit(scripts: Any) -> None:
    module, hop = scripts.evaluate_compiled, scripts.corpus.HOP
    ids = torch.zeros(1, 3, dtype=torch.long)  # at most 30 steps of two frames
    voice = SimpleNamespace(
        model=Model(0),
        tokenizer=lambda text, return_tensors: SimpleNamespace(input_ids=ids, attention_mask=ids + 1),
        speakers={"anna": torch.zeros(4), "angus": torch.ones(4)},
    )

    def read(who: str, seed: int, steps: int = 29, other: int = 0) -> tuple[np.ndarray, bool]:
        vocoder = lambda mel: mel.mean(1).repeat_interleave(hop)  # noqa: E731
        return module.reader(voice, Model(steps), vocoder, other=other)(module.Phrase("one", who, seed))

    sound, stopped = read("anna", 5)
    assert stopped and not read("anna", 5, 30)[1]
    assert np.array_equal(read("anna", 5)[0], sound) and np.array_equal(read("anna", 2, other=3)[0], sound)
    assert not np.array_equal(read("anna", 6)[0], sound)
    assert not np.array_equal(read("angus", 5)[0], sound)


def test_the_command_reads_writes_and_prints(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = scripts.evaluate_compiled
    sound = np.zeros(scripts.corpus.HOP * 3, dtype=np.float32)
    monkeypatch.setattr(module, "make_referee", lambda *_: lambda sound: ["one"] * (len(sound) // scripts.corpus.HOP))
    monkeypatch.setattr(module, "ways", lambda voice: [(module.THEIRS, lambda phrase: (sound, True))])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    module.main(phrases=4, json_file=tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["ways"][module.THEIRS]["words"] == figures["phrase_words"]
    said = capsys.readouterr()
    assert said.out == module.summary(figures) + "\n"
    assert "100%" in said.err


def test_what_cannot_be_evaluated_is_refused_before_the_work(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = scripts.evaluate_compiled
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)

    def missing(*_: Any) -> None:
        raise ModuleNotFoundError("No module named 'pocketsphinx'")

    monkeypatch.setattr(module, "make_referee", missing)
    for named, why in (
        ({"phrases": 10_000}, "read fewer"),
        ({"json_file": tmp_path / "none" / "figures.json"}, "there is no folder"),
        ({}, "No module named 'pocketsphinx': install the project with its extra `voice`"),
    ):
        with pytest.raises(typer.BadParameter, match=why):
            module.main(**named)
    monkeypatch.setattr(module, "make_referee", lambda *_: None)
    with pytest.raises(typer.BadParameter, match="none"):
        module.main(tmp_path / "none")


def sounds(count: int) -> Any:
    """Noise with a pulse every 100 samples, float32 [count, 16384]."""
    noise = 0.01 * torch.randn(count, 64 * 256, generator=torch.Generator().manual_seed(0))
    noise[:, ::100] += 0.5
    return noise


def test_envelopes_hear_levels_and_not_where_a_pulse_begins(scripts: Any) -> None:
    loss, want = scripts.spectra.envelope_loss, sounds(1)
    bumps = torch.ones(64 * 256)
    bumps[: 32 * 256] = 0.5
    assert loss(want, want) == 0
    assert loss(want.roll(50, 1), want) < 0.2 * loss(want * bumps, want)
    assert loss(want, 2 * want).item() == pytest.approx(5 * np.log(2), rel=0.02), "a weighted sum of natural logarithms"


def pieces(scripts: Any, predicted: float | None = None) -> Any:
    utterances = [
        scripts.corpus.Utterance("one", "anna", wav, np.full((64, 80), i, np.float32))
        for i, wav in enumerate(sounds(2).numpy())
    ]
    return scripts.train_vocoder.Pieces(
        utterances, () if predicted is None else [np.full((64, 80), predicted, np.float32)] * 2
    )


def test_pieces_are_aligned_and_a_share_of_them_is_predicted(scripts: Any) -> None:
    module, generator = scripts.train_vocoder, torch.Generator().manual_seed(0)
    mels, wavs = pieces(scripts, predicted=7.0).draw(60, 2 / 3, generator)
    assert mels.shape == (60, module.FRAMES, 80) and wavs.shape == (60, module.FRAMES * scripts.corpus.HOP)
    assert set(mels.unique().tolist()) == {0.0, 1.0, 7.0}
    assert (mels[:, 0, 0] == 7).sum().item() == pytest.approx(40, abs=8)
    ramp = scripts.corpus.Utterance("one", "anna", np.arange(64 * 256, dtype=np.float32), np.arange(64.0)[:, None])
    mels, wavs = module.Pieces([ramp]).draw(1, 0, generator)
    assert wavs[0, 128] == 256 * mels[0, 0, 0], "a frame is centred on its samples"


def loud_vocoder() -> Any:
    """A small vocoder whose sound is no silence, the same on every call."""
    torch.manual_seed(0)
    loud = SpeechT5HifiGanConfig(upsample_initial_channel=16, resblock_kernel_sizes=[3], initializer_range=0.2)
    return SpeechT5HifiGan(loud)


def test_training_that_was_stopped_goes_on_to_the_same_vocoder(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = scripts.train_vocoder
    losses = {"norm": 5, "spectral": 1, "envelope": 1, "predicted": 0.5, "steadiness": 1, "steady_every": 2}
    stage = module.Stage("short", 4, 2, 1e-3, warm_up=1, average=0.5, joined=(1, 4), **losses)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SAVES", 0)
    given = pieces(scripts, predicted=0.5)

    def stop(*asked: Any) -> float:
        if asked[3] == 3:
            raise KeyboardInterrupt
        return float(step(*asked))

    straight, step = loud_vocoder(), module.step
    module.train(straight, tmp_path / "straight", stage, given)
    monkeypatch.setattr(module, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        module.train(loud_vocoder(), tmp_path / "stopped", stage, given)
    monkeypatch.setattr(module, "step", step)
    resumed = loud_vocoder()
    module.train(resumed, tmp_path / "stopped", stage, given)
    assert all(map(torch.equal, resumed.state_dict().values(), straight.state_dict().values()))
    assert not torch.equal(resumed.conv_pre.weight, loud_vocoder().conv_pre.weight)
    for folder in ("straight", "stopped"):
        assert json.loads((tmp_path / folder / "training.json").read_text())["short"]["steps"] == 4
    with pytest.raises(RuntimeError, match="delete it or go back"):
        module.train(loud_vocoder(), tmp_path / "stopped", replace(stage, steps=5), given)


def change(scripts: Any, vocoder: Any, mels: Any, noise: float) -> float:
    """How much the same noise changes a vocoder's sound, of the sound."""
    with torch.no_grad():
        made = scripts.train_vocoder.perturbed(vocoder, mels, noise, torch.Generator().manual_seed(1))
        return float((made - vocoder(mels)).norm() / vocoder(mels).norm())


def test_noise_changes_the_sound_in_proportion_and_not_the_vocoder(scripts: Any) -> None:
    module, vocoder, mels = scripts.train_vocoder, loud_vocoder().double(), torch.randn(2, 8, 80).double()
    before = copy.deepcopy(vocoder.state_dict())
    assert change(scripts, vocoder, mels, 0) == 0 < change(scripts, vocoder, mels, 1e-7)
    assert change(scripts, vocoder, mels, 2e-7) == pytest.approx(2 * change(scripts, vocoder, mels, 1e-7), rel=1e-2)
    assert all(map(torch.equal, vocoder.state_dict().values(), before.values()))
    generator = torch.Generator().manual_seed(0)
    drawn = [module.draw_noise(generator) for _ in range(200)]
    assert np.quantile(drawn, [0, 0.5, 1]) == pytest.approx([module.LEAST_NOISE, 1e-3, module.MOST_NOISE], rel=0.3)


def test_training_lessens_what_the_same_noise_changes(scripts: Any) -> None:
    module, vocoder, mels = scripts.train_vocoder, loud_vocoder(), torch.randn(4, 32, 80)
    stage = module.Stage("steady", 8, 4, 1e-4, warm_up=1, norm=50, spectral=0, envelope=0, steadiness=3)
    optimizer = torch.optim.AdamW(vocoder.parameters())

    def step(number: int) -> float:
        noise = torch.Generator().manual_seed(1)
        return float(module.step(vocoder, optimizer, stage, number, (mels, torch.zeros(4, 32 * 256)), noise))

    drawn = torch.Generator().manual_seed(1)
    noise = module.draw_noise(drawn)
    with torch.no_grad():
        made, want = module.perturbed(vocoder, mels[:2], noise, drawn), vocoder(mels[:2])
    first, *_, last = (step(number) for number in range(1, 9))
    assert first == pytest.approx(3 * float((made - want).norm() / want.norm()) / noise, rel=1e-3)
    assert last < 0.98 * first
    rarely = replace(stage, steady_every=2, envelope=1e-9)
    losses = [
        float(module.step(vocoder, optimizer, rarely, n, (mels, torch.zeros(4, 32 * 256)), drawn)) for n in (1, 2)
    ]
    assert losses[0] < 1e-6 < losses[1]


def test_a_stage_leaves_the_moving_average_of_its_weights(
    scripts: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = scripts.train_vocoder
    stage = module.Stage("short", 3, 2, 1e-3, warm_up=1, norm=5, spectral=1, envelope=0, average=0.5)
    seen, step = [], module.step

    def watched(vocoder: Any, *rest: Any) -> float:
        loss = step(vocoder, *rest)
        seen.append(vocoder.conv_pre.weight.detach().clone())
        return float(loss)

    monkeypatch.setattr(module, "step", watched)
    left = loud_vocoder()
    module.train(left, tmp_path / "short", stage, pieces(scripts))
    assert torch.allclose(left.conv_pre.weight, seen[0] / 4 + seen[1] / 4 + seen[2] / 2)
    written = SpeechT5HifiGan.from_pretrained(tmp_path / "short")
    assert torch.equal(written.conv_pre.weight, left.conv_pre.weight)
    module.train(left, tmp_path / "last", replace(stage, average=0), pieces(scripts))
    assert torch.equal(left.conv_pre.weight, seen[-1])
    del seen[:]
    module.train(left, tmp_path / "joined", replace(stage, joined=(2, 3)), pieces(scripts))
    assert torch.allclose(left.conv_pre.weight, (seen[0] * 3 + seen[1] * 3 + seen[2] * 2) / 8)
    written = SpeechT5HifiGan.from_pretrained(tmp_path / "joined")
    assert torch.equal(written.conv_pre.weight, left.conv_pre.weight)


def test_the_pages_have_the_figures_that_were_measured(scripts: Any) -> None:
    assert (SMALL_VOICE / "README.md").read_text() == scripts.card.write_card(SMALL_VOICE), (
        "make it anew: python scripts/small_voice/card.py compiler/speecht5/voices/small"
    )
    figures = json.loads((SMALL_VOICE / scripts.evaluate_compiled.FIGURES).read_text())
    assert scripts.evaluate_compiled.summary(figures) in (ROOT / "docs" / "numerics.md").read_text()


def test_figures_follow_from_what_was_heard(scripts: Any) -> None:
    module = scripts.evaluate_compiled
    figures = json.loads((SMALL_VOICE / module.FIGURES).read_text())
    assert [(r["text"], r["speaker"], r["seed"]) for r in figures["readings"]] == [
        (p.text, p.speaker, p.seed) for p in module.unseen_phrases()[:200]
    ]
    for name, way in figures["ways"].items():
        heard = [r["otherwise"].get(name, r["heard"]).split() for r in figures["readings"]]
        errors = [
            referee.word_errors(scripts.corpus.words_of(r["text"]), words)
            for r, words in zip(figures["readings"], heard, strict=True)
        ]
        assert sum(e.count for e in errors) / figures["phrase_words"] == way["wer"]
        assert sum(name not in r["otherwise"] for r in figures["readings"]) == way["same_words"]
    card = json.loads((SMALL_VOICE / scripts.card.FIGURES).read_text())
    shared = [r for r in figures["readings"] if r["seed"] < card["phrases"]]
    errors = [referee.word_errors(scripts.corpus.words_of(r["text"]), r["heard"].split()) for r in shared]
    assert sum(e.count for e in errors) / card["phrase_words"] == card["words"]["voice"]["wer_by_reading"][0]


def test_compiled_the_voice_is_understood_as_before(scripts: Any) -> None:
    """As near to Hugging Face's float32 as its own float64 and bfloat16 are; the default speaker is understood best."""
    figures = json.loads((SMALL_VOICE / scripts.evaluate_compiled.FIGURES).read_text())
    for precision, theirs in (("float32", "float64"), ("bfloat16", "bfloat16")):
        ours, scale = figures["ways"][f"compiled, {precision}"], figures["ways"][f"Hugging Face, {theirs}"]
        assert ours["same_words"] >= scale["same_words"]
    for way in figures["ways"].values():
        assert min(way["wer_by_speaker"], key=way["wer_by_speaker"].get) == min(scripts.corpus.SPEAKERS)
