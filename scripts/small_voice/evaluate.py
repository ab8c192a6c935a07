"""Evaluate the small voice: word error rates, stopping, and how well its speakers are distinguished.

A recogniser (pocketsphinx, which was not trained on the voice) listens to unseen phrases, spoken in three ways:

- ``original``: flite's own sound, which shows the recogniser's own errors;
- ``resynthesis``: the true log-mels through the small vocoder, the best that the voice can reach with it;
- ``voice``: text through the small voice and the small vocoder.

Usage: ``python scripts/small_voice/evaluate.py WORK_FOLDER VOICE_FOLDER --json FIGURES``
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import corpus
import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file
from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5Tokenizer

from compiler.speecht5.verifying.referee import REFEREE, Errors, make_referee, word_errors

READINGS = 4
"""Readings of each phrase, with different dropout in the pre-net; the word error rate varies by about 0.01."""

MAX_LENGTH_RATIO = 20.0
"""``generate_speech``'s default limit on speech, in mel frames per token of text."""


@dataclass(frozen=True, slots=True)
class Generated:
    """The voice's reading of a phrase: ``mel`` float32 [frames, 80], ``stopped`` unless the length limit cut it."""

    mel: np.ndarray
    stopped: bool


def unseen_phrases(folder: Path) -> list[corpus.Utterance]:
    """Return the test utterances whose word sequence neither speaker says in training or validation."""
    taught = corpus.taught()
    return [u for u in corpus.load(folder, "test") if corpus.words_of(u.text) not in taught]


def generate(
    model: SpeechT5ForTextToSpeech, tokenizer: SpeechT5Tokenizer, text: str, speaker: torch.Tensor, seed: int
) -> Generated:
    """Speak ``text`` with a speaker embedding, float32 [dim]; ``seed`` determines the pre-net's dropout."""
    inputs = tokenizer(text, return_tensors="pt")
    torch.manual_seed(seed)
    mel = model.generate_speech(
        inputs["input_ids"], speaker[None], attention_mask=inputs["attention_mask"], maxlenratio=MAX_LENGTH_RATIO
    )
    factor = model.config.reduction_factor
    limit = int(inputs["input_ids"].shape[1] * MAX_LENGTH_RATIO / factor)
    return Generated(mel.numpy(), len(mel) // factor < limit)


def sound_of(vocoder: SpeechT5HifiGan, mel: np.ndarray) -> np.ndarray:
    """Convert log-mels, float32 [frames, 80], to sound, float32 [frames * HOP], with the vocoder."""
    with torch.no_grad():
        return vocoder(torch.from_numpy(mel)).numpy()


def pitch(wav: np.ndarray) -> float:
    """Estimate the median pitch in Hz of a sound's voiced 40 ms pieces, by autocorrelation; NaN if there are none."""
    size, low, high = corpus.SAMPLE_RATE // 25, 75, 320
    lags = slice(corpus.SAMPLE_RATE // high, corpus.SAMPLE_RATE // low)
    found = []
    for at in range(0, len(wav) - size, size // 2):
        piece = wav[at : at + size] - wav[at : at + size].mean()
        spectrum = np.fft.rfft(piece, 2 * size)
        # A longer lag has fewer samples: without the division, short lags (high pitches) would win.
        same = np.fft.irfft(np.abs(spectrum) ** 2)[:size] / (size - np.arange(size))
        if np.sqrt(same[0]) > 0.02 and same[lags].max() > 0.6 * same[0]:
            found.append(corpus.SAMPLE_RATE / (lags.start + int(same[lags].argmax())))
    return float(np.median(found)) if found else float("nan")


def nearest_speaker(mel: np.ndarray, means: dict[str, np.ndarray]) -> str:
    """Return the speaker whose mean log-mel, float32 [80], is nearest to the mean of ``mel``, float32 [frames, 80]."""
    mean = mel.mean(0)
    return min(means, key=lambda name: float(np.linalg.norm(mean - means[name])))


def word_figures(data: Sequence[corpus.Utterance], readings: Sequence[Sequence[Errors]]) -> dict[str, Any]:
    """Return the word error rate and its parts over all readings, and the rates of each speaker and reading."""
    pairs = [pair for reading in readings for pair in zip(data, reading, strict=True)]
    total = sum((e for _, e in pairs), Errors())
    return {
        "wer": total.rate,
        **asdict(total),
        "wer_by_speaker": {
            name: sum((e for u, e in pairs if u.speaker == name), Errors()).rate for name in corpus.SPEAKERS
        },
        "wer_by_reading": [sum(reading, Errors()).rate for reading in readings],
    }


def stop_figures(pairs: Sequence[tuple[corpus.Utterance, Generated]]) -> dict[str, Any]:
    """Count the readings that stopped by themselves, and compare generated lengths with the true ones."""
    off = [len(g.mel) / len(u.mel) - 1 for u, g in pairs]
    return {
        "phrases": len(pairs),
        "stopped": sum(g.stopped for _, g in pairs),
        "mean_length_error": float(np.mean(np.abs(off))),
        "worst_length_error": float(np.max(np.abs(off))),
        "mean_length_bias": float(np.mean(off)),
    }


def nearest_accuracy(mels: Sequence[tuple[corpus.Utterance, np.ndarray]], means: dict[str, np.ndarray]) -> float:
    """Return how often a log-mel, float32 [frames, 80], is nearest to the corpus mean of its own speaker."""
    return float(np.mean([nearest_speaker(mel, means) == u.speaker for u, mel in mels]))


def median_pitch(data: Sequence[corpus.Utterance], wavs: Sequence[np.ndarray], speaker: str) -> float:
    """Return the median of a speaker's pitch in Hz over the sounds of ``data``."""
    return float(np.nanmedian([pitch(w) for u, w in zip(data, wavs, strict=True) if u.speaker == speaker]))


def evaluate(work: Path, voice: Path, vocoder_folder: Path, every: int) -> dict[str, Any]:
    """Measure all figures, over each ``every``-th unseen phrase."""
    data = unseen_phrases(work)[::every]
    train = corpus.load(work, "train")
    means = {n: np.concatenate([u.mel for u in train if u.speaker == n]).mean(0) for n in corpus.SPEAKERS}
    model = SpeechT5ForTextToSpeech.from_pretrained(voice).eval()
    tokenizer = SpeechT5Tokenizer.from_pretrained(voice)
    vocoder = SpeechT5HifiGan.from_pretrained(vocoder_folder).eval()
    speakers = load_file(voice / "speakers.safetensors")

    readings = [
        [
            generate(model, tokenizer, u.text, speakers[u.speaker], 1000 * reading + i)
            for i, u in enumerate(track(data, description=f"speaking, reading {reading + 1}"))
        ]
        for reading in range(READINGS)
    ]
    sounds = {
        "original": [[u.wav for u in data]],
        "resynthesis": [[sound_of(vocoder, u.mel) for u in data]],
        "voice": [[sound_of(vocoder, g.mel) for g in spoken] for spoken in readings],
    }
    listen = make_referee(corpus.WORDS, corpus.SAMPLE_RATE)
    errors = {
        way: [
            [
                word_errors(corpus.words_of(u.text), listen(wav))
                for u, wav in zip(data, track(wavs, description=f"listening, {way}"), strict=True)
            ]
            for wavs in several
        ]
        for way, several in sounds.items()
    }
    pairs = [pair for spoken in readings for pair in zip(data, spoken, strict=True)]
    return {
        "phrases": len(data),
        "phrase_words": sum(len(corpus.words_of(u.text)) for u in data),
        "referee": REFEREE,
        "words": {way: word_figures(data, several) for way, several in errors.items()},
        "stopping": {
            "all": stop_figures(pairs),
            **{name: stop_figures([pair for pair in pairs if pair[0].speaker == name]) for name in corpus.SPEAKERS},
        },
        "speakers": {
            "nearest_mean_accuracy": {
                "original": nearest_accuracy([(u, u.mel) for u in data], means),
                "voice": nearest_accuracy([(u, g.mel) for u, g in pairs], means),
            },
            "pitch": {
                name: {way: median_pitch(data, several[0], name) for way, several in sounds.items()}
                for name in corpus.SPEAKERS
            },
        },
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures as tables."""
    names, console, parts = list(corpus.SPEAKERS), Console(), ("words", "substituted", "inserted", "deleted")
    title = f"Word error rate, {figures['phrases']} unseen phrases"
    table = Table("spoken by", "all", *names, "words", "subst.", "ins.", "del.", title=title)
    for way, f in figures["words"].items():
        rates = [f["wer"], *(f["wer_by_speaker"][name] for name in names)]
        table.add_row(way, *(f"{r:.3f}" for r in rates), *(str(f[part]) for part in parts))
    console.print(table)
    readings = figures["words"]["voice"]["wer_by_reading"]
    console.print("the voice's word error rate by reading:", ", ".join(f"{rate:.3f}" for rate in readings))
    table = Table("speaker", "readings", "stopped by itself", "length error, mean", "worst", "bias", title="Stopping")
    for name, f in figures["stopping"].items():
        errors = (f["mean_length_error"], f["worst_length_error"], f["mean_length_bias"])
        table.add_row(name, str(f["phrases"]), str(f["stopped"]), *(f"{e:.1%}" for e in errors))
    console.print(table)
    table = Table("speaker", *figures["words"], title="Median pitch, Hz")
    for name, ways in figures["speakers"]["pitch"].items():
        table.add_row(name, *(f"{f:.0f}" for f in ways.values()))
    console.print(table)
    accuracy = figures["speakers"]["nearest_mean_accuracy"]
    console.print("nearest to the own speaker's mean mel:", ", ".join(f"{k} {v:.1%}" for k, v in accuracy.items()))


def main(
    work: Annotated[Path, typer.Argument(help="folder that corpus.py wrote")],
    voice: Annotated[Path, typer.Argument(help="folder of the small voice")],
    vocoder: Annotated[Path | None, typer.Option(help="folder of the vocoder; VOICE/vocoder if not given")] = None,
    every: Annotated[int, typer.Option(help="take only every so-manyth phrase, for a quick look")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="file to write all figures to")] = None,
    threads: int = 1,
) -> None:
    """Measure the voice on unseen phrases, and print the figures."""
    torch.set_num_threads(threads)
    figures = evaluate(work, voice, vocoder or voice / "vocoder", every)
    show(figures)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
