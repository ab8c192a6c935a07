"""Write the small voice's model card from its configuration and its measured figures.

Usage: ``python scripts/small_voice/card.py VOICE_FOLDER``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import corpus
import evaluate_compiled
import typer
from safetensors.torch import load_file

FIGURES = "evaluation.json"
"""The file in the voice's folder that ``evaluate.py`` writes."""

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

A SpeechT5 text-to-speech checkpoint in the standard Hugging Face format, small enough to ship with a repository: a
`SpeechT5ForTextToSpeech` of {voice_size:.2f} M parameters and, in `vocoder/`, a `SpeechT5HifiGan` of
{vocoder_size:.2f} M. It was trained from scratch on phrases spoken by two of the free CMU voices of
[flite](https://github.com/festvox/flite). It has every part of the published checkpoints, but it knows only
{word_count} words.

## What it says

It says phrases of one to six of these words, in any order, with an optional comma, full stop or question mark:

> {words}

| speaker | flite voice | median pitch of flite | median pitch of this voice |
| --- | --- | --- | --- |
{speakers}

The speakers in `speakers.safetensors` are invented vectors of length {speaker_dim}, not x-vectors of recordings.
`{default}`, the first by name, is who speaks where no speaker is named.

## How to use it

```python
import soundfile
from safetensors.torch import load_file
from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan, SpeechT5Processor

folder = "compiler/speecht5/voices/small"
processor = SpeechT5Processor.from_pretrained(folder)
model = SpeechT5ForTextToSpeech.from_pretrained(folder)
vocoder = SpeechT5HifiGan.from_pretrained(f"{{folder}}/vocoder")
speaker = load_file(f"{{folder}}/speakers.safetensors")["{default}"]
inputs = processor(text="{example}", return_tensors="pt")
sound = model.generate_speech(inputs["input_ids"], speaker[None], vocoder=vocoder)
soundfile.write("speech.wav", sound.numpy(), {rate})
```

## Sizes

| part | size |
| --- | --- |
| tokens | {vocab_size}: characters, case folded, and four special tokens; any other character is the unknown token |
| text encoder | {encoder_layers} layers, hidden {hidden_size}, {encoder_attention_heads} heads, \
feed-forward {encoder_ffn_dim} |
| speech decoder | {decoder_layers} layers, {decoder_attention_heads} heads, feed-forward {decoder_ffn_dim}, \
{reduction_factor} frames per step |
| pre-net, post-net | {speech_decoder_prenet_units} and {speech_decoder_postnet_units} units |
| positions | {max_text_positions} tokens, {max_speech_positions} decoder steps |
| sound | {num_mel_bins} log-mels every {hop} samples at {rate} Hz |

## How well it does

A recogniser that was not trained on the voice (pocketsphinx, with a grammar of any sequence of the {word_count} words)
heard {phrases} phrases, {phrase_words} words in all, that neither speaker said in training. The settings were the same
in all rows. The voice read each phrase {readings} times, with different random numbers in the pre-net's dropout. The
error rates of these readings are {by_reading}.

| spoken by | word error rate | {names} |
| --- | --- | {rules} |
{rates}

The voice stopped by itself in {stopped} of {spoken} readings. Its lengths differ from flite's by {length_error:.1%} on
average and by {worst:.1%} at most. In {nearest:.1%} of the readings its mean log-mel is closest to its own speaker's.

## How well it does when compiled

The same recogniser heard {compiled_phrases} unseen phrases, {compiled_words} words, among them the {phrases} above.
Hugging Face's model and vocoder read each once, and so did the compiled ones, with the same speaker and seed. "Same
words" counts the phrases of which it heard the same words as of Hugging Face's reading in float32, "fewer errors" and
"more errors" those that it understood better and worse, "same length" those of as many frames. The last three rows are
the scale: what other roundings and other seeds do to Hugging Face's own readings.

{compiled}

`python scripts/small_voice/evaluate_compiled.py` prints this; it needs no `flite`. bfloat16 runs on the reference
executor, which models a device. `evaluation_compiled.json` has all figures, and what was heard of each phrase.

## How it was trained

- Corpus: {train_count} phrases per speaker, spoken by `flite`, each of one to six random words.
- Voice: Hugging Face's own loss with guided attention, AdamW, batches of {batch} phrases, one thread:
{voice_stages}
- Vocoder: spectral losses over four resolutions and a log-mel loss, no discriminator, AdamW, pieces of {frames} frames,
  one thread. The sharpening weighs energies in 16 wide bands, and half of its pieces have the log-mels that the voice
  predicts for their sound. The steadying is a sharpening with two such pieces of three. It also weighs how much noise
  in weights and outputs changes the sound, and leaves the mean of three moving averages of its weights:
{vocoder_stages}

Two vocoders of this training were read on the test split, the last moving average (0.070 and 0.095 where the table has
resynthesis and the voice) and then the mean. The mean was taken because compiled in float32 it is heard as Hugging
Face's is, where the other differs in one phrase of 200.

`python scripts/small_voice/make.py WORK_FOLDER` remakes the voice, the vocoder and this card. It needs `flite` and the
project's extra `voice`.

## Limits

The voice knows its {word_count} words and no others (`words.txt` lists them). It mumbles other words. Digits, and
letters that occur in none of its words, are unknown tokens. Its sound is that of a small vocoder. As in every SpeechT5,
the pre-net's dropout is always on, so two seeds give two readings of a phrase. It is a toy for trying out compilers and
run times, not for listening.
"""


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def parameters(folder: Path) -> float:
    """Count the parameters of a folder's checkpoint, in millions."""
    return sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values()) / 1e6


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def stages(folder: Path) -> str:
    """Return one line per training stage, from the notes in ``training.json``."""
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
    """Return the model card of the voice in a folder."""
    from train_vocoder import FRAMES
    from train_voice import BATCH

    config, figures = read(voice / "config.json"), read(voice / FIGURES)
    pitch, stopping = figures["speakers"]["pitch"], figures["stopping"]["all"]
    by_reading = figures["words"]["voice"]["wer_by_reading"]
    compiled = read(voice / evaluate_compiled.FIGURES)
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
        default=min(corpus.SPEAKERS),
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
        compiled_phrases=compiled["phrases"],
        compiled_words=compiled["phrase_words"],
        compiled=evaluate_compiled.markdown(compiled),
        stopped=stopping["stopped"],
        length_error=stopping["mean_length_error"],
        worst=stopping["worst_length_error"],
        nearest=figures["speakers"]["nearest_mean_accuracy"]["voice"],
        train_count=corpus.TRAIN_PHRASES,
        voice_stages=stages(voice),
        vocoder_stages=stages(voice / "vocoder"),
        batch=BATCH,
        frames=FRAMES,
    )


def main(voice: Annotated[Path, typer.Argument(help="folder of the small voice")]) -> None:
    """Write README.md into the voice's folder, and ``words.txt``; `speak` warns of words that are not in it."""
    (voice / "words.txt").write_text("\n".join(corpus.WORDS) + "\n")
    (voice / "README.md").write_text(write_card(voice))


if __name__ == "__main__":
    typer.run(main)
