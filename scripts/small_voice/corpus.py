"""Make the small voice's corpus: phrases spoken by Debian's ``flite``, and their log-mel spectrograms.

``flite`` ships statistical voices that speak at 16 kHz without a network. Two of them are the small voice's speakers,
distinguished by their speaker embeddings. Needs ``apt-get install flite``.

Usage: ``python scripts/small_voice/corpus.py WORK_FOLDER``
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import torch
import typer
from rich.progress import track
from transformers import SpeechT5FeatureExtractor

from compiler.speecht5.verifying.referee import words_of

SAMPLE_RATE = 16_000
HOP = 256
SPEAKERS = {"anna": "slt", "angus": "awb"}
"""Names of the speakers in the checkpoint, with the flite voice that spoke each speaker's corpus."""

WORD_LIST = """
zero one two three four five six seven eight nine ten
red green blue yellow black white orange purple
hello world good morning evening please thank you yes goodbye
open close start stop the door window light music
water coffee today tomorrow monday friday north south left
"""
WORDS = tuple(WORD_LIST.split())
TRAIN_PHRASES, VALIDATION_PHRASES, TEST_PHRASES, SPARE_PHRASES = 2_000, 32, 80, 40
"""Phrases per speaker and split. No phrase is in two splits. Nobody has spoken the spare ones."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One spoken phrase: ``wav`` float32 [samples], ``mel`` float32 [frames, 80]."""

    text: str
    speaker: str
    wav: np.ndarray
    mel: np.ndarray


def phrases(split: str, speaker: str) -> list[str]:
    """Return the phrases of a split and speaker: one to six words, some with punctuation, equal on every call."""
    seen: set[str] = set()
    rng = random.Random(f"small voice, {speaker}")
    drawn: dict[str, list[str]] = {}
    sizes = {"test": TEST_PHRASES, "validation": VALIDATION_PHRASES, "train": TRAIN_PHRASES, "spare": SPARE_PHRASES}
    for name, count in sizes.items():
        drawn[name] = []
        while len(drawn[name]) < count:
            words = [rng.choice(WORDS) for _ in range(rng.choice((1, 2, 3, 3, 4, 4, 5, 6)))]
            key = " ".join(words)
            if key in seen or (name in {"test", "spare"} and len(words) < 2):
                continue
            seen.add(key)
            if len(words) >= 4 and rng.random() < 0.5:
                at = rng.randrange(1, len(words) - 2)
                words[at] += ","
            drawn[name].append(" ".join(words) + rng.choice(("", ".", "?")))
    return drawn[split]


@cache
def taught() -> frozenset[tuple[str, ...]]:
    """Return the word sequences that a speaker says in training or validation."""
    splits = itertools.product(("train", "validation"), SPEAKERS)
    return frozenset(words_of(text) for split, speaker in splits for text in phrases(split, speaker))


def speak_with_flite(text: str, voice: str) -> np.ndarray:
    """Speak ``text`` with a flite voice: float32 [samples] at 16 kHz, silence at the ends cut to 50 ms."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", file.name], check=True)
        wav, rate = soundfile.read(file.name, dtype="float32")
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"flite voice {voice!r} speaks at {rate} Hz, expected {SAMPLE_RATE}")
    envelope = np.convolve(np.abs(wav), np.ones(160) / 160, mode="same")
    loud = np.flatnonzero(envelope > 0.02 * envelope.max())
    margin = SAMPLE_RATE // 20
    wav = wav[max(0, loud[0] - margin) : loud[-1] + 2 * margin]
    return (wav * (0.5 / np.abs(wav).max())).astype(np.float32)


def synthesize(split: str, speaker: str) -> list[Utterance]:
    """Return all phrases of a split and speaker with their sounds and log-mels."""
    extractor = SpeechT5FeatureExtractor()
    out = []
    for text in track(phrases(split, speaker), description=f"{split}, {speaker}"):
        wav = speak_with_flite(text, SPEAKERS[speaker])
        mel = extractor(audio_target=wav, sampling_rate=SAMPLE_RATE)["input_values"][0]
        out.append(Utterance(text, speaker, wav, mel.astype(np.float32)))
    return out


def load(folder: Path, split: str) -> list[Utterance]:
    """Read the utterances that ``main`` wrote for ``split``, of both speakers."""
    return [Utterance(**fields) for fields in torch.load(folder / f"{split}.pt", weights_only=False)]


def note_training(folder: Path, stage: str, **figures: float) -> None:
    """Record the figures of a training stage in ``training.json`` beside the checkpoint, for the model card."""
    file = folder / "training.json"
    notes = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(notes | {stage: figures}, indent=2) + "\n")


def main(folder: Annotated[Path, typer.Argument(help="where train.pt, validation.pt and test.pt go")]) -> None:
    """Speak the corpus and write it, split by split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("test", "validation", "train"):
        # Plain dictionaries, since a pickled Utterance could be read only under the module name that wrote it.
        data = [asdict(u) for speaker in SPEAKERS for u in synthesize(split, speaker)]
        torch.save(data, folder / f"{split}.pt")


if __name__ == "__main__":
    typer.run(main)
