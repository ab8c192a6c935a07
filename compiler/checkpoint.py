"""Loading what Hugging Face saves: a SpeechT5 model, its tokenizer, speakers and vocoder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compiler.errors import InvalidArgument, UnsupportedModel
from compiler.versions import require

require("transformers")

SMALL_VOICE = Path(__file__).parent / "voices" / "small"
"""The checkpoint that ships with the project."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A checkpoint with all that speaking takes. ``speakers`` maps names to embeddings float32 [dim]."""

    model: Any
    tokenizer: Any
    speakers: dict[str, torch.Tensor]
    vocoder: Any


def checked(model: Any) -> Any:
    """``model`` itself; ``UnsupportedModel`` where it is no SpeechT5 text-to-speech model."""
    from transformers import SpeechT5ForTextToSpeech  # noqa: PLC0415, takes seconds

    if not isinstance(model, SpeechT5ForTextToSpeech):
        raise UnsupportedModel(
            f"a SpeechT5ForTextToSpeech, a checkpoint folder or a hub name is expected, got {type(model).__name__}"
        )
    return model


def load_model(source: str) -> Any:
    """A ``SpeechT5ForTextToSpeech`` from a folder or a hub name.

    Raises ``UnsupportedModel`` for a checkpoint of another model or with parameters missing, ``InvalidArgument`` where there is none.
    """
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech  # noqa: PLC0415

    kind = _describe(source)
    architectures = kind.get("architectures") or ["SpeechT5ForTextToSpeech"]
    if kind.get("model_type") not in (None, "speecht5") or "SpeechT5ForTextToSpeech" not in architectures:
        raise UnsupportedModel(
            f"{source!r} holds {', '.join(architectures)} of type {kind.get('model_type')!r}, "
            "and not a SpeechT5ForTextToSpeech"
        )
    config = _load(SpeechT5Config, source)
    model, info = _load(SpeechT5ForTextToSpeech, source, config=config, output_loading_info=True)
    _all_there(source, info)
    return model


def load_voice(source: str, vocoder: str | None = None) -> Voice:
    """A checkpoint with tokenizer, speakers (``speakers.safetensors``, empty where there is none) and vocoder.

    The vocoder is the checkpoint's own (folder ``vocoder``) unless another is named; ``None`` where there is neither.
    """
    from transformers import SpeechT5HifiGan, SpeechT5Tokenizer  # noqa: PLC0415

    model = load_model(source)
    tokenizer = _load(SpeechT5Tokenizer, source)
    folder = Path(source)
    own = folder / "vocoder"
    chosen = vocoder or (str(own) if own.is_dir() else None)
    voice = None
    if chosen is not None:
        voice, info = _load(SpeechT5HifiGan, chosen, output_loading_info=True)
        _all_there(chosen, info)
        voice = voice.eval()
    return Voice(model, tokenizer, _speakers(folder / "speakers.safetensors"), voice)


def _speakers(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file  # noqa: PLC0415

    return load_file(file) if file.is_file() else {}


def _describe(source: str) -> dict[str, Any]:
    """``config.json`` of a local folder, an empty description for a hub name."""
    folder = Path(source)
    if not folder.exists():
        if source.startswith((".", "/", "~")) or source.count("/") > 1:
            raise InvalidArgument(f"there is no checkpoint folder {source!r}")
        return {}
    file = folder / "config.json"
    if not file.is_file():
        raise InvalidArgument(f"{source!r} is no checkpoint folder: it has no config.json")
    try:
        description: dict[str, Any] = json.loads(file.read_text())
    except ValueError as error:
        raise InvalidArgument(f"{str(file)!r} cannot be read as JSON: {error}") from error
    return description


def _load(kind: Any, source: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(source, **options)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidArgument(f"{kind.__name__} could not be loaded from {source!r}: {reason}") from error


def _all_there(source: str, info: dict[str, Any]) -> None:
    """transformers fills parameters that a checkpoint lacks with random numbers and a printed note: here that is an error."""
    wrong = sorted([*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])])
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise UnsupportedModel(f"the checkpoint {source!r} lacks parameters or has them in other shapes: {shown}")
