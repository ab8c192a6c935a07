"""Loading what Hugging Face saves: a SpeechT5 model, its tokenizer, speakers and vocoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.errors import InvalidArgument, UnsupportedModel
from compiler.speecht5 import stored_norm
from compiler.speecht5.checkpoint_config import (
    MODEL,
    VOCODER,
    check_activation,
    check_kind,
    check_name,
    description,
    named,
)
from compiler.speecht5.pieces import Tables
from compiler.speecht5.quiet import quiet
from compiler.speecht5.reading import reading
from compiler.speecht5.voice import Voice
from compiler.versions import require

if TYPE_CHECKING:
    import torch  # takes seconds: a text is checked without

require("transformers")

SMALL_VOICE = Path(__file__).parent / "voices" / "small"
"""The checkpoint that ships with the project."""
_TEXT_TO_SPEECH = ("speecht5.encoder.prenet.embed_tokens", "speech_decoder_postnet.feat_out")
"""Parameters that a SpeechT5 for recognition or conversion does not have."""
SPEAKERS, SENTENCEPIECE, WORDS = "speakers.safetensors", "spm_char.model", "words.txt"


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


def import_classes() -> None:
    """Import what loading needs: it takes seconds, which may be better spent before they are waited for."""
    from transformers import SpeechT5ForTextToSpeech, SpeechT5HifiGan  # noqa: F401, PLC0415


def full_size_model() -> Any:
    """A model of transformers' default configuration, with random weights."""
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech  # noqa: PLC0415

    return SpeechT5ForTextToSpeech(SpeechT5Config())


def full_size_vocoder() -> Any:
    """A vocoder of transformers' default configuration, with random weights."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig  # noqa: PLC0415

    return SpeechT5HifiGan(SpeechT5HifiGanConfig()).eval()


def load_model(source: str | Path) -> Any:
    """A ``SpeechT5ForTextToSpeech`` from a folder or a hub name.

    Raises ``UnsupportedModel`` for a checkpoint of another model or with parameters missing, ``InvalidArgument`` where
    there is none, or one that cannot be read.
    """
    from transformers import SpeechT5ForTextToSpeech  # noqa: PLC0415

    source = named(source)
    check_kind(source, *MODEL)
    return _complete(SpeechT5ForTextToSpeech, source)


def load_vocoder(source: str | Path) -> Any:
    """A ``SpeechT5HifiGan`` from a folder or a hub name, in float32; raises what ``load_model`` raises."""
    from transformers import SpeechT5HifiGan  # noqa: PLC0415

    source = named(source)
    check_kind(source, *VOCODER)
    return _complete(SpeechT5HifiGan, source).float().eval().requires_grad_(False)


def checked_vocoder(model: Any) -> Any:
    """``model`` itself; ``UnsupportedModel`` where it is no SpeechT5 vocoder with weights."""
    from transformers import SpeechT5HifiGan  # noqa: PLC0415

    if not isinstance(model, SpeechT5HifiGan):
        raise UnsupportedModel(
            f"a SpeechT5HifiGan, a folder or a hub name is expected as vocoder, got {type(model).__name__}"
        )
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise UnsupportedModel(
                f"the vocoder has no weights: {name} is on torch's meta device. Load a checkpoint first"
            )
    return model


def load_voice(
    source: str | Path, vocoder: str | Path | None = None, tokenizer: Any = None, model: Any = None
) -> Voice:
    """A checkpoint with tokenizer, speakers (``speakers.safetensors``, empty where there is none) and vocoder.

    The tokenizer is the checkpoint's own unless another is given, by folder or hub name or as what ``load_tokenizer``
    returned. The vocoder is the checkpoint's own (folder ``vocoder``) unless another is named; ``None`` where there is
    neither. Its own speakers and vocoder are looked for in a folder only, not on the hub. ``model``
    is the checkpoint's, where it is loaded already. Raises what ``load_model`` raises.
    """
    source = named(source)
    chosen = own_vocoder(source) if vocoder is None else named(vocoder)
    model = load_model(source) if model is None else model
    if tokenizer is None or isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(source if tokenizer is None else tokenizer)
    loaded = None if chosen is None else load_vocoder(chosen)
    if loaded is not None and loaded.config.model_in_dim != model.config.num_mel_bins:
        raise InvalidArgument(
            f"the vocoder {chosen!r} takes {loaded.config.model_in_dim} mels a frame and the model {source!r} makes "
            f"{model.config.num_mel_bins}: name the vocoder that belongs to the model"
        )
    return Voice(model, tokenizer, speakers_of(Path(source)), loaded, known_words(source))


def own_vocoder(source: str) -> str | None:
    """The folder of the vocoder that a checkpoint in a folder has of its own; ``None`` where it has none.

    Raises ``InvalidArgument`` for a name that is neither a folder's nor can be one on the hub.
    """
    check_name(source)
    own = Path(source) / "vocoder"
    return str(own) if own.is_dir() else None


def load_tokenizer(source: str | Path, normalize: bool | None = None) -> Any:
    """A ``SpeechT5Tokenizer`` from a folder or a hub name, without torch.

    ``normalize``: whether it spells numbers out in English before it takes a text apart; ``None`` leaves that to the
    checkpoint. Raises ``InvalidArgument`` where there is none, or one that cannot be read.
    """
    from transformers import SpeechT5Tokenizer  # noqa: PLC0415

    source = named(source)
    check_name(source)
    # transformers would only say that some argument is missing.
    if Path(source).is_dir() and not (Path(source) / SENTENCEPIECE).is_file():
        raise InvalidArgument(
            f"the checkpoint {source!r} has no tokenizer: copy its sentencepiece model {SENTENCEPIECE} into the "
            "folder, or name another with --tokenizer"
        )
    chosen = {} if normalize is None else {"normalize": normalize}
    with reading("SpeechT5Tokenizer", source):
        return SpeechT5Tokenizer.from_pretrained(source, **chosen)


def known_words(source: str) -> frozenset[str]:
    """The words that a voice in a folder was taught, from ``words.txt``, in lower case; empty where it has no list."""
    file = Path(source) / WORDS
    if not file.is_file():
        return frozenset()
    with reading("the list of words", str(file)):
        return frozenset(file.read_text(encoding="utf-8").casefold().split())


def tables(source: str) -> Tables | None:
    """What bounds the pieces of text that a SpeechT5 text-to-speech checkpoint says, without torch.

    ``None`` where its ``config.json`` does not say. Raises what ``load_model`` raises for another model.
    """
    check_kind(source, *MODEL)
    described = {"max_speech_positions": 4000, "reduction_factor": 2} | description(source)  # transformers' defaults
    text, steps, reduction, taught = (
        described.get(key)
        for key in ("max_text_positions", "max_speech_positions", "reduction_factor", "max_piece_tokens")
    )
    if not (isinstance(text, int) and isinstance(steps, int) and isinstance(reduction, int)):
        return None
    return Tables(text, steps * reduction, taught if isinstance(taught, int) else None)


def speakers_of(folder: Path) -> dict[str, torch.Tensor]:
    """The speakers of a checkpoint in a folder, float32 [dim] by name; empty where it has none of its own."""
    import torch  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    file = folder / SPEAKERS
    if not file.is_file():
        return {}
    with reading("speakers", str(file)):
        return {name: tensor.to(torch.float32) for name, tensor in load_file(file).items()}


def _complete(kind: Any, source: str) -> Any:
    """A model of class ``kind`` with every parameter from the checkpoint.

    transformers fills parameters that a checkpoint lacks with random numbers and a printed note: here that is an error.
    What was saved under weight norm lacks weights in this sense, and is loaded again under weight norm.
    """
    with reading("config.json", source):
        config = kind.config_class.from_pretrained(source)
    check_activation(config, source)
    with reading(kind.__name__, source):
        # Other shapes are let through, because the exception for them does not say which.
        from compiler import torch_state  # noqa: PLC0415, torch takes seconds

        given = {"config": config, "output_loading_info": True, "ignore_mismatched_sizes": True}
        with torch_state.alone(), quiet():
            model, info = kind.from_pretrained(source, **given)
            if layers := stored_norm.normed(info):
                held, info = stored_norm.under_norm(kind, layers).from_pretrained(source, **given)
                model = stored_norm.without_norm(held, kind, layers)
    wrong = sorted(info["missing_keys"])
    wrong += sorted(f"{name} {[*found]} for {[*wanted]}" for name, found, wanted in info["mismatched_keys"])
    if wrong:
        shown = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        other = any(name.startswith(_TEXT_TO_SPEECH) for name in info["missing_keys"])
        hint = "; is it a checkpoint for text to speech?" if other else ""
        raise UnsupportedModel(f"the checkpoint {source!r} lacks parameters or has them in other shapes: {shown}{hint}")
    return model
