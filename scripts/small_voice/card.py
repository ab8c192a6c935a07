"""The small voice's model card, written from its configuration and measured figures.

Usage: ``python scripts/small_voice/card.py VOICE_FOLDER``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import corpus
import typer
from safetensors.torch import load_file

FIGURES = "evaluation.json"
"""Where in the voice's folder ``evaluate.py`` writes."""

WAYS = {
    "original": "flite's own sound",
    "resynthesis": "flite's log-mels through the small vocoder",
    "voice": "text through the small voice and the small vocoder",
}

TEMPLATE = """---
language: en
license: apache-2.0
library_name: transformers
pipeline_tag: text-to-speech
tags:
- speecht5
- text-to-speech
---

# A small SpeechT5 voice

A SpeechT5 text-to-speech checkpoint of the standard Hugging Face form, small enough to ship with a repository: a
`SpeechT5ForTextToSpeech` of {voice_size:.2f} M parameters and, in `vocoder/`, a `SpeechT5HifiGan` of
{vocoder_size:.2f} M. It was trained from nothing on phrases spoken by two of the free CMU voices of
[flite](https://github.com/festvox/flite). It has every part that the published checkpoints have, but it knows only
{word_count} words.

## What it says

Phrases of one to six of these words, in any order, with an optional comma, full stop or question mark:

> {words}

| speaker | learnt from | median pitch: flite | median pitch: this voice |
| --- | --- | --- | --- |
{speakers}

The speakers are made-up directions of length {speaker_dim} in `speakers.safetensors`, not x-vectors of recordings.

## How to use it

```python
import soundfile
from safetensors.torch import load_file
from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5Processor

folder = "compiler/speecht5/voices/small"
processor = SpeechT5Processor.from_pretrained(folder)
model = SpeechT5ForTextToSpeech.from_pretrained(folder)
vocoder = SpeechT5HifiGan.from_pretrained(f"{{folder}}/vocoder")
speaker = load_file(f"{{folder}}/speakers.safetensors")["{first_speaker}"]
inputs = processor(text="{example}", return_tensors="pt")
sound = model.generate_speech(inputs["input_ids"], speaker[None], vocoder=vocoder)
soundfile.write("speech.wav", sound.numpy(), {rate})
```

## Sizes

| part | size |
| --- | --- |
| tokens | {vocab_size}: characters, case folded, and four special ones; other characters are the unknown token |
| text encoder | {encoder_layers} layers, hidden {hidden_size}, {encoder_attention_heads} heads, \
feed-forward {encoder_ffn_dim} |
| speech decoder | {decoder_layers} layers, {decoder_attention_heads} heads, feed-forward {decoder_ffn_dim}, \
{reduction_factor} frames a step |
| pre-net, post-net | {speech_decoder_prenet_units} and {speech_decoder_postnet_units} units |
| positions | {max_text_positions} tokens, {max_speech_positions} decoder steps |
| sound | {num_mel_bins} log-mels every {hop} samples at {rate} Hz |

## How well it does

A recogniser that knows nothing of the voice (pocketsphinx, with a grammar of any sequence of the {word_count} words)
heard {phrases} phrases, {phrase_words} words in all, that neither speaker said in training. Every way of speaking was
heard with the same settings. The voice read each phrase {readings} times, with other random numbers in the pre-net's
dropout: its error rates by reading are {by_reading}.

| spoken by | word error rate | {names} |
| --- | --- | {rules} |
{rates}

It stopped by itself in {stopped} of {spoken} readings; its lengths are {length_error:.1%} off flite's on average and
{worst:.1%} at worst. Its mean log-mel is nearest to its own speaker's in {nearest:.1%} of the readings.

## How it was trained

- Corpus: {train_count} phrases a speaker, spoken by `flite`, a random one to six words each.
- Voice: Hugging Face's own loss with guided attention, AdamW, batches of {batch} phrases, one thread:
{voice_stages}
- Vocoder: spectral losses over four resolutions and a log-mel loss, no discriminator, AdamW, batches of {pieces}
  pieces of {frames} frames, one thread:
{vocoder_stages}

`python scripts/small_voice/make.py WORK_FOLDER` remakes all of it, this card included. It needs `flite` and the
project's extra `voice`.

## Limits

It knows its {word_count} words and no others (`words.txt` lists them): other words come out as mumbling, and
digits and the letters that occur
in none of its words are unknown tokens. Its sound is that of a small vocoder. The pre-net's dropout is always on, as
in every SpeechT5, so that two seeds give two readings of a phrase. It is a research toy for trying out compilers and
run times, not for listening.
"""


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def parameters(folder: Path) -> float:
    """Millions of trained numbers in a folder's checkpoint."""
    return sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values()) / 1e6


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def stages(folder: Path) -> str:
    """What ``training.json`` notes of each stage of a training, a line each."""
    lines = []
    for name, notes in read(folder / "training.json").items():
        parts = [
            f"{notes['steps']} steps at learning rates up to {notes['rate']:g}",
            *([f"dropout {notes['dropout']:g}"] if "dropout" in notes else []),
            f"{notes['seconds'] / 60:.0f} minutes of CPU time",
            *(f"{key.replace('_', ' ')} {value:.3f}" for key, value in notes.items() if key.endswith("loss")),
        ]
        lines.append(f"  - {name}: {', '.join(parts)}")
    return "\n".join(lines)


def write_card(voice: Path) -> str:
    """The model card of the voice in a folder."""
    from train_vocoder import BATCH as PIECES
    from train_vocoder import FRAMES
    from train_voice import BATCH

    config, figures = read(voice / "config.json"), read(voice / FIGURES)
    pitch, stopping = figures["speakers"]["pitch"], figures["stopping"]["all"]
    by_reading = figures["words"]["voice"]["wer_by_reading"]
    return TEMPLATE.format(
        **{name: value for name, value in config.items() if name in TEMPLATE},
        voice_size=parameters(voice),
        vocoder_size=parameters(voice / "vocoder"),
        word_count=len(corpus.WORDS),
        words=", ".join(corpus.WORDS),
        speakers="\n".join(
            row(f"`{name}`", f"`{flite}`", f"{pitch[name]['original']:.0f} Hz", f"{pitch[name]['voice']:.0f} Hz")
            for name, flite in corpus.SPEAKERS.items()
        ),
        speaker_dim=config["speaker_embedding_dim"],
        first_speaker=next(iter(corpus.SPEAKERS)),
        example="Good morning, four nine three.",
        rate=corpus.SAMPLE_RATE,
        hop=corpus.HOP,
        phrases=figures["phrases"],
        phrase_words=figures["phrase_words"],
        readings=len(by_reading),
        by_reading=", ".join(f"{rate:.3f}" for rate in by_reading),
        spoken=stopping["phrases"],
        names=" | ".join(corpus.SPEAKERS),
        rules=" | ".join("---" for _ in corpus.SPEAKERS),
        rates="\n".join(
            row(
                what,
                f"{figures['words'][way]['wer']:.3f}",
                *(f"{figures['words'][way]['wer_by_speaker'][name]:.3f}" for name in corpus.SPEAKERS),
            )
            for way, what in WAYS.items()
        ),
        stopped=stopping["stopped"],
        length_error=stopping["mean_length_error"],
        worst=stopping["worst_length_error"],
        nearest=figures["speakers"]["nearest_mean_accuracy"]["voice"],
        train_count=corpus.TRAIN_PHRASES,
        voice_stages=stages(voice),
        vocoder_stages=stages(voice / "vocoder"),
        batch=BATCH,
        pieces=PIECES,
        frames=FRAMES,
    )


def main(voice: Annotated[Path, typer.Argument(help="folder of the small voice")]) -> None:
    """Write README.md into the voice's folder, and ``words.txt``, by which a speaker is warned of other words."""
    (voice / "words.txt").write_text("\n".join(corpus.WORDS) + "\n")
    (voice / "README.md").write_text(write_card(voice))


if __name__ == "__main__":
    typer.run(main)
