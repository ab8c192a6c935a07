"""Evaluate the compiled small voice and vocoder beside Hugging Face's: which words a recogniser hears of each.

All read the same phrases, which the voice was not taught, with the same speakers and the same seeds of the pre-net's
dropout. Plans in bfloat16 and with bfloat8_b weights run on the reference executor, which models a device. The scale is
Hugging Face's own model in float64, in bfloat16 and with other seeds: the recogniser is a harsh judge, to whom one unit
in the last of 16 bits may be another word.

Usage: ``python scripts/small_voice/evaluate_compiled.py``, with the project's extra ``voice``. It needs no corpus.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import corpus
import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track

import compiler
from compiler.speecht5.checkpoint import SMALL_VOICE, load_voice
from compiler.speecht5.verifying.referee import REFEREE, Errors, make_referee, word_errors
from compiler.speecht5.voice import Voice

FIGURES = "evaluation_compiled.json"
"""The file in the voice's folder that holds the figures of its card."""

THEIRS = "Hugging Face, float32"
"""The way of reading that the others are compared with."""

PLANS: dict[str, dict[str, str]] = {
    "compiled, float32": {"precision": "float32"},
    "compiled, bfloat16": {"precision": "bfloat16"},
    "compiled, bfloat8_b weights": {"precision": "bfloat16", "weights": "bfloat8_b"},
    "compiled, mixed weights": {"precision": "bfloat16", "weights": "mixed"},
}

OTHER_SEEDS = 1_000_000
"""Added to a phrase's seed for a second reading, which shares no seed with the first."""

MAX_LENGTH_RATIO = 20.0
"""``generate_speech``'s default limit on speech, in mel frames per token of text."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A text to read, by whom, and the seed of the pre-net's dropout."""

    text: str
    speaker: str
    seed: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What was heard of a phrase: its words, its length in mel frames, ``stopped`` unless the limit cut it."""

    words: tuple[str, ...]
    frames: int
    stopped: bool


Speak = Callable[[Phrase], tuple[np.ndarray, bool]]
"""From a phrase to its sound, float32 [samples], and whether it stopped before the limit on its length."""


def unseen_phrases() -> list[Phrase]:
    """Return all phrases that no speaker was taught, each once, the speakers in turn.

    First come the test phrases, with the seeds of ``evaluate.py``'s first reading of them, then the spare ones.
    """
    taught, chosen, seed = set(corpus.taught()), {name: [] for name in corpus.SPEAKERS}, 0
    for split in ("test", "spare"):
        for speaker in corpus.SPEAKERS:
            for text in corpus.phrases(split, speaker):
                words = corpus.words_of(text)
                if words not in taught:
                    chosen[speaker].append(Phrase(text, speaker, seed))
                    taught.add(words)
                    seed += 1
    return [phrase for turn in zip(*chosen.values(), strict=False) for phrase in turn]


def reader(voice: Voice, model: Any, vocoder: Any, dtype: torch.dtype = torch.float32, other: int = 0) -> Speak:
    """Return a way of reading: ``model`` and ``vocoder`` are Hugging Face's or compiled ones."""

    def speak(phrase: Phrase) -> tuple[np.ndarray, bool]:
        inputs = voice.tokenizer(phrase.text, return_tensors="pt")
        torch.manual_seed(phrase.seed + other)
        sound = model.generate_speech(
            inputs.input_ids,
            voice.speakers[phrase.speaker][None].to(dtype),
            attention_mask=inputs.attention_mask,
            maxlenratio=MAX_LENGTH_RATIO,
            vocoder=vocoder,
        )
        factor = voice.model.config.reduction_factor
        steps = int(inputs.input_ids.shape[1] * MAX_LENGTH_RATIO / factor)
        return sound.float().numpy(), len(sound) // (corpus.HOP * factor) < steps

    return speak


def ways(voice: Voice) -> Iterable[tuple[str, Speak]]:
    """Yield the ways of reading by name, Hugging Face's in float32 first; each is compiled when its turn comes."""
    yield THEIRS, reader(voice, voice.model, voice.vocoder)
    for name, options in PLANS.items():
        compiled = compiler.compile_speecht5(voice.model, vocoder=voice.vocoder, **options)
        yield name, reader(voice, compiled, compiled.vocoder)
    for dtype in (torch.float64, torch.bfloat16):
        model, vocoder = (copy.deepcopy(part).to(dtype) for part in (voice.model, voice.vocoder))
        yield f"Hugging Face, {str(dtype).removeprefix('torch.')}", reader(voice, model, vocoder, dtype)
    yield "Hugging Face, other seeds", reader(voice, voice.model, voice.vocoder, other=OTHER_SEEDS)


def figures_of(phrases: Sequence[Phrase], read: Mapping[str, Sequence[Reading]]) -> dict[str, Any]:
    """Return the figures of each way of reading, and what was heard of each phrase."""
    errors = {
        name: [word_errors(corpus.words_of(p.text), r.words) for p, r in zip(phrases, readings, strict=True)]
        for name, readings in read.items()
    }
    return {
        "phrases": len(phrases),
        "phrase_words": sum(len(corpus.words_of(p.text)) for p in phrases),
        "referee": REFEREE,
        "ways": {name: _figures(phrases, read, errors, name) for name in read},
        "readings": [
            {
                **asdict(phrase),
                "heard": " ".join(read[THEIRS][i].words),
                "otherwise": {
                    name: " ".join(readings[i].words)
                    for name, readings in read.items()
                    if readings[i].words != read[THEIRS][i].words
                },
            }
            for i, phrase in enumerate(phrases)
        ],
    }


def _figures(
    phrases: Sequence[Phrase], read: Mapping[str, Sequence[Reading]], errors: Mapping[str, Sequence[Errors]], name: str
) -> dict[str, Any]:
    total = sum(errors[name], Errors())
    pairs = list(zip(read[name], read[THEIRS], strict=True))
    counts = [(mine.count, its.count) for mine, its in zip(errors[name], errors[THEIRS], strict=True)]
    return {
        "wer": total.rate,
        **asdict(total),
        "wer_by_speaker": {
            who: sum((e for p, e in zip(phrases, errors[name], strict=True) if p.speaker == who), Errors()).rate
            for who in corpus.SPEAKERS
        },
        "stopped": sum(r.stopped for r in read[name]),
        "same_length": sum(mine.frames == its.frames for mine, its in pairs),
        "same_words": sum(mine.words == its.words for mine, its in pairs),
        "fewer_errors": sum(mine < its for mine, its in counts),
        "more_errors": sum(mine > its for mine, its in counts),
    }


def markdown(figures: Mapping[str, Any]) -> str:
    """Return the table of the figures, in Markdown."""
    rows = [
        ("read by", "word error rate", *corpus.SPEAKERS, "same words", "fewer errors", "more errors", "same length"),
        ("---",) * (6 + len(corpus.SPEAKERS)),
    ]
    for name, way in figures["ways"].items():
        rates = (way["wer"], *(way["wer_by_speaker"][who] for who in corpus.SPEAKERS))
        counts = (str(way[key]) for key in ("same_words", "fewer_errors", "more_errors", "same_length"))
        rows.append((name, *(f"{rate:.3f}" for rate in rates), *(("",) * 4 if name == THEIRS else counts)))
    return "\n".join(f"| {' | '.join(row)} |".replace("  ", " ") for row in rows)


def summary(figures: Mapping[str, Any]) -> str:
    """Return what the command prints: the sizes of the evaluation, and the table."""
    stopped = [way["stopped"] for way in figures["ways"].values()]
    said = f"{figures['phrases']} phrases, {figures['phrase_words']} words; "
    said += f"{sum(stopped)} of {len(stopped) * figures['phrases']} readings stopped by themselves"
    return f"{said}\n\n{markdown(figures)}"


def main(
    folder: Annotated[Path, typer.Argument(help="folder of the small voice")] = SMALL_VOICE,
    phrases: Annotated[int, typer.Option(help="how many phrases to read", min=len(corpus.SPEAKERS))] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="file to write all figures to")] = None,
    threads: int = 1,
) -> None:
    """Have the same phrases read in all ways, and print what a recogniser hears of each."""
    chosen, console = unseen_phrases(), Console(stderr=True)
    if phrases > len(chosen):
        raise typer.BadParameter(f"there are {len(chosen)} phrases that the voice was not taught: read fewer")
    if json_file and not json_file.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {str(json_file.parent)!r} to write {json_file.name!r} in")
    chosen = chosen[:phrases]
    torch.set_num_threads(threads)
    try:
        listen, voice = make_referee(corpus.WORDS, corpus.SAMPLE_RATE), load_voice(str(folder))
    except ImportError as error:
        raise typer.BadParameter(f"{error}: install the project with its extra `voice`") from error
    except compiler.CompilerError as error:
        raise typer.BadParameter(str(error)) from error
    if voice.vocoder is None or not voice.speakers.keys() >= corpus.SPEAKERS.keys():
        raise typer.BadParameter(f"{str(folder)!r} has not the vocoder and speakers of the small voice")

    def read(phrase: Phrase, speak: Speak) -> Reading:
        sound, stopped = speak(phrase)
        return Reading(tuple(listen(sound)), len(sound) // corpus.HOP, stopped)

    readings = {
        name: [read(phrase, speak) for phrase in track(chosen, description=name, console=console)]
        for name, speak in ways(voice)
    }
    figures = figures_of(chosen, readings)
    print(summary(figures))
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
