"""Save a compiled model, a SpeechT5 with its voice, and load it where there is no transformers."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from compiler.compiled import CompiledModel, saving
from compiler.errors import InvalidArgument
from compiler.folder import Folder, damaged, opened, seal, written
from compiler.speecht5.hifigan import HifiGan, HifiGanConfig, config_of, same_sound, vocoder_in
from compiler.speecht5.limits import Limits
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.saved_voice import (
    KIND,
    PIECES,
    SPEAKERS,
    TOKENIZER,
    VOCODER,
    Config,
    Described,
    SavedSpeech,
    SavedVoice,
    described,
)
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.speecht5.tokenizer import PieceTokenizer, TokenizerNumbers
from compiler.speecht5.voice import Voice
from compiler.target.options import PlanOptions

_VOCODER_WEIGHTS, _VOCODER_CONFIG = f"{VOCODER}/model.safetensors", f"{VOCODER}/config.json"
_NAMED = frozenset(each.name for each in fields(HifiGanConfig))
_PROBES = (
    *string.printable,
    *"äéßжλ中€🙂",
    string.printable,
    " two  spaces, and at both ends ",
    "</s> is text, <pad> and <unk> are",
    "The quick brown fox jumps over the lazy dog.",
)
"""Texts with which a tokenizer is compared with its sentencepiece model by itself."""


def save(
    compiled: CompiledModel,
    folder: str | Path,
    *,
    voice: Voice | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
    **upto: int | None,
) -> None:
    """Save a compiled model in a new folder, whole or not at all; :func:`load` reads it.

    A SpeechT5 is saved with the tokenizer, speakers, words and vocoder of ``voice``, by default those of the checkpoint
    folder that it was compiled from, or of the saved model that it was loaded from. All graphs are saved, for all
    buckets of lengths, or up to the lengths ``text`` tokens and ``steps`` of the decoder; those not compiled yet are
    compiled. ``progress`` is called with what is being done.

    Raises ``InvalidArgument`` for a folder that is there (``overwrite`` replaces a saved model), for unfit lengths, for
    ``postnet="exact"``, whose graphs are made for each speech, and for a vocoder that is no ``SpeechT5HifiGan``.
    """
    if not isinstance(compiled, CompiledSpeechT5):
        saving.save(compiled, folder, overwrite=overwrite, progress=progress, **upto)
        return
    with written(Path(folder), overwrite) as beside:
        voice = voice or compiled.voice or _own_voice(compiled)
        saved = None if voice is None else _write_voice(voice, beside)
        about = saving.write(compiled, beside, upto, progress)
        longest = {name: length["longest"] for name, length in about["spec"]["lengths"].items()}
        taught = getattr(compiled.config, "max_piece_tokens", None)
        speech = SavedSpeech(compiled.constants, longest["text"], longest["steps"], taught, saved)
        seal(beside, {"kind": KIND, "speech": asdict(speech), **about})


def load(folder: str | Path | Described) -> CompiledModel:
    """Load what :func:`save` wrote: a ``CompiledSpeechT5``, with its ``voice``, or another model's graphs.

    Nothing is traced, and neither transformers nor torch's tracing are imported. Weights are mapped. Every file is
    checked; raises ``InvalidArgument`` for a folder that is no saved model, is of another version or is damaged.
    """
    found = folder.folder if isinstance(folder, Described) else opened(folder)
    if found.about.get("kind") == saving.KIND:
        return saving.of_folder(found, CompiledModel, PlanOptions)
    told = folder if isinstance(folder, Described) else described(found)
    compiled = saving.of_folder(found, CompiledSpeechT5, CompileOptions)
    lengths, speech = compiled.spec.lengths, told.speech
    if {name: length.longest for name, length in lengths.items()} != {"text": speech.text, "steps": speech.steps}:
        raise damaged(found.path, "its graphs have other lengths than its speech")
    compiled.constants, compiled.config = speech.constants, Config.of(speech)
    compiled.limits = Limits(speech.text, speech.steps, lengths["text"].buckets, lengths["steps"].buckets)
    compiled.voice = None if speech.voice is None else _read_voice(told, compiled.config)
    return compiled


def reopened(folder: str, sha256: str) -> CompiledModel:
    """What a pickled saved SpeechT5 comes back as. Raises ``InvalidArgument`` where the folder holds another now."""
    return saving.same(load(folder), sha256)


def _own_voice(compiled: CompiledSpeechT5) -> Voice | None:
    """What is in the checkpoint folder that a model was compiled from; ``None`` where that is no whole voice."""
    from compiler.speecht5 import checkpoint  # noqa: PLC0415, which needs transformers

    source = compiled.checkpoint
    if source is None or not (Path(source) / checkpoint.SENTENCEPIECE).is_file():
        return None
    return checkpoint.load_voice(source, model=SimpleNamespace(config=compiled.config))


def _write_voice(voice: Voice, folder: Path) -> SavedVoice:
    (folder / TOKENIZER).mkdir()
    numbers = _write_tokenizer(voice.tokenizer, folder)
    if voice.speakers:
        save_file({name: vector.contiguous() for name, vector in voice.speakers.items()}, folder / SPEAKERS)
    if voice.vocoder is not None:
        _write_vocoder(voice.vocoder, folder)
    normalize = bool(voice.tokenizer.normalize)
    return SavedVoice(numbers, normalize, tuple(sorted(voice.words)), bool(voice.speakers), voice.vocoder is not None)


def _write_tokenizer(tokenizer: Any, folder: Path) -> TokenizerNumbers | None:
    """The sentencepiece model where that is all there is to a tokenizer, else what transformers saves of it."""
    if isinstance(tokenizer, PieceTokenizer):
        (folder / PIECES).write_bytes(tokenizer.file.read_bytes())
        return tokenizer.numbers
    tokenizer.save_pretrained(folder / TOKENIZER)
    numbers = numbers_of(tokenizer, folder / PIECES)
    if numbers is None:
        return None
    for file in (folder / TOKENIZER).iterdir():
        if file != folder / PIECES:
            file.unlink()
    return numbers


def numbers_of(tokenizer: Any, pieces: Path) -> TokenizerNumbers | None:
    """What the file ``pieces`` lacks of transformers' tokenizer; ``None`` where it makes other tokens of texts."""
    numbers = TokenizerNumbers(
        {str(token): int(number) for token, number in tokenizer.added_tokens_encoder.items()},
        tuple(map(int, tokenizer.all_special_ids)),
        int(tokenizer.eos_token_id),
        int(tokenizer.unk_token_id),
    )
    alone = PieceTokenizer(pieces, numbers, bool(tokenizer.normalize))
    probes = {probe: tokenizer(probe, split_special_tokens=True, verbose=False).input_ids for probe in _PROBES}
    return None if any(alone(probe).input_ids != ids for probe, ids in probes.items()) else numbers


def _write_vocoder(vocoder: Any, folder: Path) -> None:
    """The configuration and weights, as transformers would save them."""
    if isinstance(vocoder, HifiGan):
        ours = vocoder
    else:
        told = json.loads(json.dumps({name: value for name, value in vars(vocoder.config).items() if name in _NAMED}))
        weights = {name: tensor.detach() for name, tensor in vocoder.state_dict().items()}
        ours = HifiGan(config_of(told, "the vocoder's configuration"), weights)
    if not same_sound(ours, vocoder):
        raise InvalidArgument("the vocoder makes other sound than a SpeechT5HifiGan does: only that can be saved")
    (folder / VOCODER).mkdir()
    described = {**asdict(ours.config), "architectures": ["SpeechT5HifiGan"], "dtype": "float32"}
    (folder / _VOCODER_CONFIG).write_text(json.dumps(described, indent=1), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in ours.weights.items()}, folder / _VOCODER_WEIGHTS)


def _read_voice(told: Described, config: Config) -> Voice:
    voice, folder = told.voice, told.folder
    speakers = _tensors(folder, SPEAKERS) if voice.has_speakers else {}
    vocoder = _read_vocoder(folder) if voice.has_vocoder else None
    if vocoder is not None and vocoder.config.model_in_dim != config.num_mel_bins:
        raise damaged(folder.path, "its vocoder takes other spectrograms than its model makes")
    model = SimpleNamespace(config=config)
    return Voice(model, told.tokenizer(), dict(speakers), vocoder, frozenset(voice.words))


def _read_vocoder(folder: Folder) -> HifiGan:
    for name in (_VOCODER_CONFIG, _VOCODER_WEIGHTS):
        folder.file(name)
    try:
        return vocoder_in(folder.path / VOCODER)
    except InvalidArgument as error:
        raise damaged(folder.path, str(error)) from None


def _tensors(folder: Folder, name: str) -> Mapping[str, Tensor]:
    file = folder.file(name)
    try:
        return load_file(file)
    except Exception as error:  # damage shows up as almost any type
        raise damaged(folder.path, f"{name} cannot be read: {error}") from None
