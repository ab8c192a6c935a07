"""Remake the small voice: corpus, both trainings, the checkpoint folder, its evaluation and its model card.

Needs ``apt-get install flite`` and the project's extra ``voice``. Some five hours on one CPU core. Where
the vocoder's training was stopped, ``--start vocoder`` goes on with it.

Usage: ``python scripts/small_voice/make.py WORK_FOLDER``
"""

from __future__ import annotations

import shutil
from enum import StrEnum, auto
from pathlib import Path
from typing import Annotated

import card
import corpus
import evaluate
import evaluate_compiled
import torch
import train_vocoder
import train_voice
import typer
from safetensors.torch import load_file
from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5Processor, SpeechT5Tokenizer

SHIPPED = Path(__file__).parents[2] / "compiler" / "speecht5" / "voices" / "small"


class Stage(StrEnum):
    """The stages, in order."""

    CORPUS = auto()
    VOICE = auto()
    VOCODER = auto()
    ASSEMBLE = auto()
    EVALUATE = auto()
    EVALUATE_COMPILED = auto()
    CARD = auto()


def assemble(work: Path, folder: Path) -> None:
    """Copy the trained models into one folder, and check that they load from there unchanged."""
    for source, target in ((work / "voice", folder), (work / "vocoder", folder / "vocoder")):
        target.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            # Copy only the contents: safetensors writes files that only their owner may read.
            shutil.copyfile(file, target / file.name)
    check_weights(SpeechT5ForTextToSpeech, work / "voice", folder)
    check_weights(SpeechT5HifiGan, work / "vocoder", folder / "vocoder")
    check_speech(work, folder)
    check_tokenizer(folder)


def check_weights(kind: type[SpeechT5ForTextToSpeech] | type[SpeechT5HifiGan], trained: Path, folder: Path) -> None:
    """Fail unless the model in ``folder`` loads completely, with exactly the trained weights."""
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    wrong = {what: names for what, names in report.items() if names}
    if wrong:
        # transformers fills gaps with random weights, and only prints a warning.
        raise RuntimeError(f"{folder} does not load as a {kind.__name__}: {wrong}")
    weights = load_file(trained / "model.safetensors")
    state = model.state_dict()
    different = [name for name, value in weights.items() if not torch.equal(state[name], value)]
    if different:
        raise RuntimeError(f"{folder} loads other weights than were trained: {different}")


def check_speech(work: Path, folder: Path) -> None:
    """Fail unless both speakers sound the same from ``folder`` as from the trained models."""

    def speak(voice: Path, vocoder: Path) -> list[torch.Tensor]:
        model = SpeechT5ForTextToSpeech.from_pretrained(voice)
        tokens = SpeechT5Processor.from_pretrained(voice)(text="good morning, seven", return_tensors="pt")
        hifigan = SpeechT5HifiGan.from_pretrained(vocoder)
        sounds = []
        for speaker in load_file(voice / "speakers.safetensors").values():
            torch.manual_seed(0)
            sounds.append(model.generate_speech(tokens["input_ids"], speaker[None], vocoder=hifigan))
        return sounds

    pairs = zip(speak(work / "voice", work / "vocoder"), speak(folder, folder / "vocoder"), strict=True)
    if not all(torch.equal(a, b) for a, b in pairs):
        raise RuntimeError(f"the voice in {folder} does not sound like the one that was trained")


def check_tokenizer(folder: Path) -> None:
    """Fail unless case is folded, and exactly the trained characters have a token."""
    tokenizer = SpeechT5Tokenizer.from_pretrained(folder)
    trained = {c for s in corpus.SPEAKERS for text in corpus.phrases("train", s) for c in text.replace(" ", "▁")}
    known = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if known != trained:
        raise RuntimeError(f"the tokenizer knows {sorted(known)}, trained were {sorted(trained)}")
    if tokenizer("Good MORNING").input_ids != tokenizer("good morning").input_ids:
        raise RuntimeError("the tokenizer does not fold case")
    if tokenizer("ß7j").input_ids.count(tokenizer.unk_token_id) == 0:
        raise RuntimeError("the tokenizer has no unknown token for characters that were not trained")


def main(
    work: Annotated[Path, typer.Argument(help="folder for the corpus and what is trained")],
    folder: Annotated[Path, typer.Option("--out", help="folder to write the voice to")] = SHIPPED,
    start: Annotated[Stage, typer.Option(help="take what comes before this stage from WORK")] = Stage.CORPUS,
    threads: int = 1,
) -> None:
    """Run all stages from ``start`` on."""
    todo = list(Stage)[list(Stage).index(start) :]
    if Stage.CORPUS in todo:
        corpus.main(work)
    if Stage.VOICE in todo:
        train_voice.main(work, work / "voice", threads=threads)
    if Stage.VOCODER in todo:
        train_vocoder.main(work, work / "vocoder", work / "voice", threads=threads)
    if Stage.ASSEMBLE in todo:
        assemble(work, folder)
    if Stage.EVALUATE in todo:
        evaluate.main(work, folder, json_file=folder / card.FIGURES, threads=threads)
    if Stage.EVALUATE_COMPILED in todo:
        evaluate_compiled.main(folder, json_file=folder / evaluate_compiled.FIGURES, threads=threads)
    card.main(folder)


if __name__ == "__main__":
    typer.run(main)
