"""Train the small voice, a SpeechT5 of 1.2 M parameters in the standard Hugging Face format.

Hugging Face's own training loss with guided attention; AdamW with warm-up and linear decay, in two stages. Under two
hours on one CPU core. Usage: ``python scripts/small_voice/train_voice.py WORK_FOLDER CHECKPOINT_FOLDER``
"""

from __future__ import annotations

import io
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import corpus
import sentencepiece
import torch
import typer
from rich.progress import track
from safetensors.torch import save_file
from transformers import (
    SpeechT5Config,
    SpeechT5FeatureExtractor,
    SpeechT5ForTextToSpeech,
    SpeechT5Processor,
    SpeechT5Tokenizer,
    get_linear_schedule_with_warmup,
)

SPEAKER_DIM = 16
BATCH = 16
VOCABULARY = 32
"""24 letters, space and three punctuation marks, and four special tokens."""
TEXT_POSITIONS, SPEECH_POSITIONS = 200, 600
"""Longest text in tokens, and longest speech in decoder steps of two frames."""
PIECE_TOKENS = 40
"""Most tokens of a text that is taught: about six words."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the training: steps, highest learning rate, and dropout (during training only)."""

    name: str
    steps: int
    rate: float
    dropout: float


LEARN = Stage("learning", 16_000, 1e-3, 0.1)
SHARPEN = Stage("sharpening", 7_000, 8e-4, 0.0)
"""The small model does not overfit (training and validation loss stay together). Its spectra are sharper without the
dropout that the larger published model is trained with. The pre-net's dropout stays: SpeechT5 uses it at inference."""


def make_tokenizer(folder: Path) -> SpeechT5Tokenizer:
    """Make a character tokenizer of the published checkpoint's kind, which folds case.

    It knows only the corpus's characters: others (digits, "j", "q") become the unknown token.
    """
    # A model written to a named file would contain that file's path.
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus.phrases("train", "anna")),
        model_writer=model,
        model_type="char",
        vocab_size=VOCABULARY,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc_cf",
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        bos_piece="<s>",
        pad_piece="<pad>",
        eos_piece="</s>",
        unk_piece="<unk>",
        minloglevel=2,
    )
    file = folder / "spm_char.model"
    file.write_bytes(model.getvalue())
    return SpeechT5Tokenizer(str(file), model_max_length=TEXT_POSITIONS)


def make_config(vocab_size: int, stage: Stage) -> SpeechT5Config:
    """Return the model's configuration; its training dropout comes from the stage."""
    return SpeechT5Config(
        vocab_size=vocab_size,
        hidden_size=128,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=512,
        decoder_ffn_dim=512,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        hidden_dropout=stage.dropout,
        activation_dropout=stage.dropout,
        attention_dropout=stage.dropout,
        positional_dropout=stage.dropout,
        speech_decoder_postnet_dropout=5 * stage.dropout,
        speech_decoder_prenet_units=96,
        speech_decoder_postnet_units=96,
        speaker_embedding_dim=SPEAKER_DIM,
        max_text_positions=TEXT_POSITIONS,
        max_speech_positions=SPEECH_POSITIONS,
        max_piece_tokens=PIECE_TOKENS,
        use_guided_attention_loss=True,
        guided_attention_loss_num_heads=2,
    )


def make_speakers() -> dict[str, torch.Tensor]:
    """Return one embedding per speaker, float32 [SPEAKER_DIM]: random directions, not taken from recordings."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(SPEAKER_DIM, generator=generator) for name in corpus.SPEAKERS}


def batches(data: list[corpus.Utterance], rng: random.Random) -> Iterator[list[corpus.Utterance]]:
    """Yield endless batches of utterances of similar length, in random order."""
    while True:
        order = sorted(data, key=lambda u: len(u.mel) + rng.uniform(0, 12))
        chunks = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        rng.shuffle(chunks)
        yield from chunks


def collate(
    batch: list[corpus.Utterance], tokenizer: SpeechT5Tokenizer, speakers: dict[str, torch.Tensor], factor: int
) -> dict[str, torch.Tensor]:
    """Return model inputs; ``labels`` are -100 past the end of an utterance, and cut to whole decoder steps."""
    text = tokenizer([u.text for u in batch], padding=True, return_tensors="pt")
    mels = [torch.from_numpy(u.mel[: len(u.mel) // factor * factor]) for u in batch]
    return {
        "input_ids": text["input_ids"],
        "attention_mask": text["attention_mask"],
        "speaker_embeddings": torch.stack([speakers[u.speaker] for u in batch]),
        "labels": torch.nn.utils.rnn.pad_sequence(mels, batch_first=True, padding_value=-100.0),
    }


def train(
    model: SpeechT5ForTextToSpeech,
    checkpoint: Path,
    stage: Stage,
    stream: Iterator[dict[str, torch.Tensor]],
    validation: list[dict[str, torch.Tensor]],
) -> None:
    """Train ``model`` in place for one stage, and validate and write it at intervals."""
    began = time.process_time()
    optimizer = torch.optim.AdamW(model.parameters(), lr=stage.rate, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, 500, stage.steps)
    mean = math.nan
    for step in track(range(1, stage.steps + 1), description=stage.name):
        model.train()
        loss = model(**next(stream)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 500 == 0 or step == stage.steps:
            model.eval()
            with torch.no_grad():
                mean = sum(model(**b).loss.item() for b in validation) / len(validation)
            print(f"{stage.name}, step {step}: validation loss {mean:.4f}", flush=True)
            model.save_pretrained(checkpoint)
    corpus.note_training(
        checkpoint,
        stage.name,
        steps=stage.steps,
        rate=stage.rate,
        dropout=stage.dropout,
        seconds=time.process_time() - began,
        validation_loss=mean,
    )


def main(
    work: Annotated[Path, typer.Argument(help="folder that corpus.py wrote")],
    checkpoint: Annotated[Path, typer.Argument(help="folder to write the checkpoint to")],
    sharpen_only: Annotated[
        bool, typer.Option(help="begin with the checkpoint's weights and the second stage")
    ] = False,
    threads: int = 1,
) -> None:
    """Train and write model, tokenizer and speaker embeddings."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    checkpoint.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(checkpoint)
    speakers = make_speakers()
    # Everything except the weights is written first, so that the folder can be tried while the training runs.
    feature_extractor = SpeechT5FeatureExtractor()
    SpeechT5Processor(feature_extractor, tokenizer).save_pretrained(checkpoint)
    feature_extractor.save_pretrained(checkpoint)
    save_file(speakers, checkpoint / "speakers.safetensors")
    factor = make_config(tokenizer.vocab_size, LEARN).reduction_factor
    data, held_out = corpus.load(work, "train"), corpus.load(work, "validation")
    validation = [collate(held_out[i : i + BATCH], tokenizer, speakers, factor) for i in range(0, len(held_out), BATCH)]
    stream = (collate(batch, tokenizer, speakers, factor) for batch in batches(data, random.Random(0)))

    weights = SpeechT5ForTextToSpeech.from_pretrained(checkpoint).state_dict() if sharpen_only else {}
    for stage in (SHARPEN,) if sharpen_only else (LEARN, SHARPEN):
        # Dropout is fixed when a model is created.
        model = SpeechT5ForTextToSpeech(make_config(tokenizer.vocab_size, stage))
        if weights:
            model.load_state_dict(weights)
        train(model, checkpoint, stage, stream, validation)
        weights = model.state_dict()

    again = SpeechT5ForTextToSpeech.from_pretrained(checkpoint).state_dict()
    if any(not torch.equal(value, again[name]) for name, value in weights.items()):
        raise RuntimeError(f"the voice saved in {checkpoint} does not load as it was trained")


if __name__ == "__main__":
    typer.run(main)
