"""Loading what Hugging Face saves: a SpeechT5 model, its tokenizer, speakers and vocoder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compiler.errors import CompilerError, InvalidArgument, UnsupportedModel
from compiler.versions import require

require("transformers")

SMALL_VOICE = Path(__file__).parent / "voices" / "small"
"""The checkpoint that ships with the project."""
SPEAKERS, SENTENCEPIECE = "speakers.safetensors", "spm_char.model"


@dataclass(frozen=True, slots=True)
class Voice:
    """A checkpoint with all that speaking takes. ``speakers`` maps names to embeddings float32 [dim]."""

    model: Any
    tokenizer: Any
    speakers: dict[str, torch.Tensor]
    vocoder: Any


_LEAST = {
    "encoder_layers": 1,
    "decoder_layers": 1,
    "speech_decoder_prenet_layers": 1,
    "speech_decoder_postnet_layers": 1,
    "max_text_positions": 3,  # a length that torch.export keeps symbolic is 2 at least, and not always the same
}
"""The least of what a model that can be traced has."""


def checked(model: Any) -> Any:
    """``model`` itself; ``UnsupportedModel`` where it is no SpeechT5 text-to-speech model."""
    from transformers import SpeechT5ForTextToSpeech  # noqa: PLC0415, takes seconds

    if not isinstance(model, SpeechT5ForTextToSpeech):
        raise UnsupportedModel(
            f"a SpeechT5ForTextToSpeech, a checkpoint folder or a hub name is expected, got {type(model).__name__}"
        )
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise UnsupportedModel(
                f"the model has no weights: {name} is on torch's meta device. Load a checkpoint first"
            )
    for name, least in _LEAST.items():
        if getattr(model.config, name) < least:
            raise UnsupportedModel(
                f"the model's configuration has {name}={getattr(model.config, name)}: at least {least} is needed"
            )
    return model


def load_model(source: str) -> Any:
    """A ``SpeechT5ForTextToSpeech`` from a folder or a hub name.

    Raises ``UnsupportedModel`` for a checkpoint of another model or with parameters missing, ``InvalidArgument`` where
    there is none, or one that cannot be read.
    """
    from transformers import SpeechT5ForTextToSpeech  # noqa: PLC0415

    _check_kind(source, "speecht5", "SpeechT5ForTextToSpeech")
    return _complete(SpeechT5ForTextToSpeech, source)


def load_vocoder(source: str) -> Any:
    """A ``SpeechT5HifiGan`` from a folder or a hub name, in float32; raises what ``load_model`` raises."""
    from transformers import SpeechT5HifiGan  # noqa: PLC0415

    _check_kind(source, "hifigan", "SpeechT5HifiGan")
    return _complete(SpeechT5HifiGan, source).float().eval().requires_grad_(False)


def load_voice(source: str, vocoder: str | None = None) -> Voice:
    """A checkpoint with tokenizer, speakers (``speakers.safetensors``, empty where there is none) and vocoder.

    The vocoder is the checkpoint's own (folder ``vocoder``) unless another is named; ``None`` where there is neither.
    Its own speakers and vocoder are looked for in a folder only, not on the hub. Raises what ``load_model`` raises.
    """
    own = Path(source) / "vocoder"
    chosen = vocoder or (str(own) if own.is_dir() else None)
    model = load_model(source)
    tokenizer = _tokenizer(source)
    loaded = None if chosen is None else load_vocoder(chosen)
    if loaded is not None and loaded.config.model_in_dim != model.config.num_mel_bins:
        raise InvalidArgument(
            f"the vocoder {chosen!r} takes {loaded.config.model_in_dim} mels a frame and the model {source!r} makes "
            f"{model.config.num_mel_bins}: name the vocoder that belongs to the model"
        )
    return Voice(model, tokenizer, _speakers(Path(source) / SPEAKERS), loaded)


def _tokenizer(source: str) -> Any:
    from transformers import SpeechT5Tokenizer  # noqa: PLC0415

    # transformers would only say that some argument is missing.
    if Path(source).is_dir() and not (Path(source) / SENTENCEPIECE).is_file():
        raise InvalidArgument(
            f"the checkpoint {source!r} has no tokenizer: copy its sentencepiece model {SENTENCEPIECE} into the folder"
        )
    with _reading("SpeechT5Tokenizer", source):
        return SpeechT5Tokenizer.from_pretrained(source)


def _speakers(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file  # noqa: PLC0415

    if not file.is_file():
        return {}
    with _reading("speakers", str(file)):
        return {name: tensor.to(torch.float32) for name, tensor in load_file(file).items()}


def _check_kind(source: str, model_type: str, architecture: str) -> None:
    """Raise ``UnsupportedModel`` unless ``config.json`` says ``architecture``, or nothing that speaks against it."""
    description = _description(source)
    architectures = description.get("architectures") or [architecture]
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise InvalidArgument(f"config.json of {source!r}: architectures={architectures!r} is no list of names")
    named = description.get("model_type")
    # The published vocoder says "hifigan", and what transformers saves today "speecht5_hifigan".
    if named not in (None, model_type, f"speecht5_{model_type}") or architecture not in architectures:
        raise UnsupportedModel(
            f"{source!r} holds {', '.join(architectures)} of model type {named!r}, and not a {architecture}"
        )


def _description(source: str) -> dict[str, Any]:
    """``config.json`` of a folder or of a name on the hub."""
    folder = Path(source)
    if not folder.exists():
        return _description_on_hub(source)
    file = folder / "config.json"
    if not source or not file.is_file():
        raise InvalidArgument(f"{source!r} is no checkpoint folder: it has no config.json")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InvalidArgument(f"{str(file)!r} cannot be read as JSON: {error}") from error
    if not isinstance(description, dict):
        raise InvalidArgument(f"{str(file)!r} holds no JSON object, but a {type(description).__name__}")
    return description


def _description_on_hub(source: str) -> dict[str, Any]:
    from transformers import SpeechT5Config  # noqa: PLC0415

    # Asking the hub takes half a minute where there is no network: only for what can be a name there.
    if source.count("/") != 1 or source.startswith((".", "/", "~")) or source.endswith("/"):
        raise InvalidArgument(f"there is no checkpoint folder {source!r} (a name on the hub would be OWNER/NAME)")
    with _reading("config.json", source):
        description: dict[str, Any] = SpeechT5Config.get_config_dict(source)[0]
    return description


def _complete(kind: Any, source: str) -> Any:
    """A model of class ``kind`` with every parameter from the checkpoint.

    transformers fills parameters that a checkpoint lacks with random numbers and a printed note: here that is an error.
    """
    with _reading(kind.__name__, source):
        config = kind.config_class.from_pretrained(source)
        # Other shapes are let through, because the exception for them does not say which.
        model, info = kind.from_pretrained(
            source, config=config, output_loading_info=True, ignore_mismatched_sizes=True
        )
    wrong = sorted(info["missing_keys"])
    wrong += sorted(f"{name} {[*found]} for {[*wanted]}" for name, found, wanted in info["mismatched_keys"])
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise UnsupportedModel(f"the checkpoint {source!r} lacks parameters or has them in other shapes: {shown}")
    return model


@contextmanager
def _reading(what: str, source: str) -> Iterator[None]:
    """Whatever the libraries raise while they read ``what`` becomes one ``InvalidArgument``."""
    try:
        yield
    except CompilerError:
        raise
    except Exception as error:
        if _unreachable(error):
            raise InvalidArgument(
                f"{what} of {source!r}: there is no such folder, and the Hugging Face hub could not be reached. Where "
                f"there is a network, save the checkpoint to a folder with save_pretrained; then name the folder"
            ) from error
        reason = " ".join(" ".join(str(error).strip().splitlines()[:2]).split()) or type(error).__name__
        raise InvalidArgument(f"{what} could not be loaded from {source!r}: {reason}") from error


def _unreachable(error: BaseException | None) -> bool:
    """Whether the network, or its being switched off, is among the causes."""
    while error is not None:
        if type(error).__name__ in ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError"):
            return True
        error = error.__cause__
    return False
