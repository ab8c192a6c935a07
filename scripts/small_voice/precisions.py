"""Measure word error rates of the compiled small voice on the same words, by the number format of the plan.

Usage: ``python scripts/small_voice/precisions.py WORK_FOLDER VOICE_FOLDER``, where ``corpus.py`` wrote WORK_FOLDER.
Plans in bfloat16 and bfloat8_b run on the reference executor, which models a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import corpus
import torch
import typer
from evaluate import Errors, make_referee, sound_of, unseen_phrases, word_errors, words_of
from rich.progress import track

import compiler
from compiler.speecht5.checkpoint import load_voice

PLANS: dict[str, dict[str, str]] = {
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat8_b weights": {"precision": "bfloat16", "weights": "bfloat8_b"},
    "mixed weights": {"precision": "bfloat16", "weights": "mixed"},
}


def first_words(data: Sequence[corpus.Utterance], count: int) -> list[corpus.Utterance]:
    """Return phrases of both speakers in turn, up to ``count`` words."""
    by_speaker = [[u for u in data if u.speaker == name] for name in corpus.SPEAKERS]
    chosen: list[corpus.Utterance] = []
    for pair in zip(*by_speaker, strict=False):
        for utterance in pair:
            if sum(len(words_of(u.text)) for u in chosen) < count:
                chosen.append(utterance)
    return chosen


def errors_of(voice: Any, options: dict[str, str], data: Sequence[corpus.Utterance], name: str) -> Errors:
    compiled, listen, total = compiler.compile_speecht5(voice.model, **options), make_referee(), Errors()
    for i, u in enumerate(track(data, description=name)):
        ids = voice.tokenizer(u.text, return_tensors="pt").input_ids
        torch.manual_seed(i)
        mel = compiled.generate_speech(ids, voice.speakers[u.speaker][None])
        total += word_errors(words_of(u.text), listen(sound_of(voice.vocoder, mel.numpy())))
    return total


def main(
    work: Annotated[Path, typer.Argument(help="folder that corpus.py wrote")],
    folder: Annotated[Path, typer.Argument(help="folder of the small voice")],
    words: Annotated[int, typer.Option(help="how many words to speak at least")] = 200,
    threads: int = 1,
) -> None:
    """Print the word error rate of each plan."""
    torch.set_num_threads(threads)
    voice = load_voice(str(folder))
    data = first_words(unseen_phrases(work), words)
    for name, options in PLANS.items():
        errors = errors_of(voice, options, data, name)
        print(f"{name}: word error rate {errors.rate:.3f} on {errors.words} words, {len(data)} phrases", flush=True)


if __name__ == "__main__":
    typer.run(main)
