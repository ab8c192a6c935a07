"""Save a compiled model, a SpeechT5 with its voice, and load it where there is no transformers."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from compiler import arguments
from compiler.compiled import CompiledModel, check_compiled, saving
from compiler.folder import Folder, damaged, inside, opened, seal, written
from compiler.speecht5 import saved_vocoder
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
from compiler.speecht5.vocoder import CompiledHifiGan, vocoder_of
from compiler.speecht5.voice import Voice
from compiler.target.options import PlanOptions

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

    A SpeechT5 is saved with its compiled vocoder and the tokenizer, speakers and words of ``voice``, by default those
    of the checkpoint folder that it was compiled from, or of the saved model that it was loaded from. Where it was
    compiled without a vocoder, that of ``voice`` is compiled. All graphs are saved, for all buckets of lengths, or up
    to the lengths ``text`` tokens and ``steps`` of the decoder, and for the windows that sound of so many steps takes;
    of a vocoder by itself, up to ``frames``. Those not compiled yet are compiled. ``progress`` is called with what is
    being done.

    Raises ``InvalidArgument`` for a folder that is there (``overwrite`` replaces a saved model), for unfit lengths, for
    ``postnet="exact"``, whose graphs are made for each speech, and ``UnsupportedModel`` for a voice's vocoder that is
    no ``SpeechT5HifiGan``.
    """
    check_compiled(compiled)
    arguments.function("progress", progress)
    target = arguments.path("folder", folder)
    if isinstance(compiled, CompiledHifiGan):
        with written(target, overwrite) as beside:
            seal(beside, saved_vocoder.write(compiled, beside, upto, progress))
        return
    if not isinstance(compiled, CompiledSpeechT5):
        saving.save(compiled, target, overwrite=overwrite, progress=progress, **upto)
        return
    with written(target, overwrite) as beside:
        voice = voice or compiled.voice or own_voice(compiled)
        saved = None if voice is None else _write_voice(voice, beside)
        about = saving.write(compiled, beside, upto, progress)
        longest = {name: length["longest"] for name, length in about["spec"]["lengths"].items()}
        taught = getattr(compiled.config, "max_piece_tokens", None)
        vocoder = _vocoder_of(compiled, voice)
        if vocoder is not None:
            (beside / VOCODER).mkdir()
            frames = saved_vocoder.windows_for(vocoder, longest["steps"] * compiled.constants.reduction_factor)
            seal(beside / VOCODER, saved_vocoder.write(vocoder, beside / VOCODER, {"frames": frames}, progress))
        halo = compiled.postnet_halo if compiled.options.postnet == "chunks" else None
        speech = SavedSpeech(
            compiled.constants, longest["text"], longest["steps"], taught, saved, vocoder is not None, halo
        )
        seal(beside, {"kind": KIND, "speech": asdict(speech), **about})


def load(folder: str | Path | Described) -> CompiledModel:
    """Load what :func:`save` wrote: a ``CompiledSpeechT5`` with ``voice`` and ``vocoder``, a vocoder, or other graphs.

    Nothing is traced, and neither transformers nor torch's tracing are imported. Weights are mapped. Every file is
    checked; raises ``InvalidArgument`` for a folder that is no saved model, is of another version or is damaged.
    """
    found = folder.folder if isinstance(folder, Described) else opened(folder)
    if found.about.get("kind") == saving.KIND:
        return saving.of_folder(found, CompiledModel, PlanOptions)
    if found.about.get("kind") == saved_vocoder.KIND:
        return saved_vocoder.of_folder(found)
    told = folder if isinstance(folder, Described) else described(found)
    compiled = saving.of_folder(found, CompiledSpeechT5, CompileOptions)
    if fault := describe(compiled, told.speech):
        raise damaged(found.path, fault)
    speech = told.speech
    compiled.vocoder = saved_vocoder.of_folder(inside(found, VOCODER)) if speech.has_vocoder else None
    if compiled.vocoder is not None and compiled.vocoder.config.model_in_dim != speech.constants.mel_bins:
        raise damaged(found.path, "its vocoder takes other spectrograms than its model makes")
    compiled.voice = None if speech.voice is None else _read_voice(told, compiled)
    return compiled


def describe(compiled: CompiledSpeechT5, speech: SavedSpeech) -> str:
    """Give a model that was not traced the numbers that speaking asks for; what does not fit its graphs, or nothing."""
    lengths = compiled.spec.lengths
    longest = {name: length.longest for name, length in lengths.items() if name != "window"}
    if longest != {"text": speech.text, "steps": speech.steps}:
        return "its graphs have other lengths than its speech"
    compiled.constants, compiled.config = speech.constants, Config.of(speech)
    compiled.limits = Limits(speech.text, speech.steps, lengths["text"].buckets, lengths["steps"].buckets)
    if compiled.options.postnet == "chunks":
        windows, halo = lengths["window"].buckets if "window" in lengths else (), speech.postnet_halo
        if windows[: len(compiled.limits.windows)] != compiled.limits.windows or halo is None:
            return "its post-net is not that of chunks"
        compiled.postnet_halo = halo
    return ""


def reopened(folder: str, sha256: str) -> CompiledModel:
    """What a pickled saved model comes back as. Raises ``InvalidArgument`` where the folder holds another now."""
    return saving.same(load(folder), sha256)


def own_voice(compiled: CompiledSpeechT5) -> Voice | None:
    """What is in the checkpoint folder that a model was compiled from; ``None`` where that is no whole voice."""
    from compiler.speecht5 import checkpoint  # noqa: PLC0415, which needs transformers

    source = compiled.checkpoint
    if source is None or not (Path(source) / checkpoint.SENTENCEPIECE).is_file():
        return None
    return checkpoint.load_voice(source, model=SimpleNamespace(config=compiled.config))


def _vocoder_of(compiled: CompiledSpeechT5, voice: Voice | None) -> CompiledHifiGan | None:
    if compiled.vocoder is not None or voice is None or voice.vocoder is None:
        return compiled.vocoder
    return vocoder_of(voice.vocoder, compiled.options, compiled.constants.mel_bins)


def _write_voice(voice: Voice, folder: Path) -> SavedVoice:
    (folder / TOKENIZER).mkdir()
    numbers = write_tokenizer(voice.tokenizer, folder)
    if voice.speakers:
        save_file({name: vector.contiguous() for name, vector in voice.speakers.items()}, folder / SPEAKERS)
    normalize = bool(voice.tokenizer.normalize)
    return SavedVoice(numbers, normalize, tuple(sorted(voice.words)), bool(voice.speakers))


def write_tokenizer(tokenizer: Any, folder: Path) -> TokenizerNumbers | None:
    """The sentencepiece model where that is all there is to a tokenizer, else what transformers saves of it."""
    if isinstance(tokenizer, PieceTokenizer):
        (folder / PIECES).write_bytes(tokenizer.file.read_bytes())
        return tokenizer.numbers
    tokenizer.save_pretrained(folder / TOKENIZER)
    numbers = TokenizerNumbers(
        {str(token): int(number) for token, number in tokenizer.added_tokens_encoder.items()},
        tuple(map(int, tokenizer.all_special_ids)),
        int(tokenizer.eos_token_id),
        int(tokenizer.unk_token_id),
    )
    alone = PieceTokenizer(folder / PIECES, numbers, bool(tokenizer.normalize))
    probes = {probe: tokenizer(probe, split_special_tokens=True, verbose=False).input_ids for probe in _PROBES}
    if any(alone(probe).input_ids != ids for probe, ids in probes.items()):
        return None
    for file in (folder / TOKENIZER).iterdir():
        if file != folder / PIECES:
            file.unlink()
    return numbers


def _read_voice(told: Described, compiled: CompiledSpeechT5) -> Voice:
    voice, folder = told.voice, told.folder
    speakers = _tensors(folder, SPEAKERS) if voice.has_speakers else {}
    model = SimpleNamespace(config=compiled.config)
    return Voice(model, told.tokenizer(), dict(speakers), compiled.vocoder, frozenset(voice.words))


def _tensors(folder: Folder, name: str) -> Mapping[str, Tensor]:
    file = folder.file(name)
    try:
        return load_file(file)
    except Exception as error:  # damage shows up as almost any type
        raise damaged(folder.path, f"{name} cannot be read: {error}") from None
