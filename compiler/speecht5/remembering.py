"""Compile a checkpoint folder from what was kept of it, and keep what a run made; see ``traces`` for what that is."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from compiler.compiled import CompiledModel
from compiler.compiled.remembered import Remembered, remember
from compiler.compiled.saving import SavedSpec
from compiler.errors import CompilerError
from compiler.output import beside, write_checked
from compiler.records import record
from compiler.runtime.weights import Weights
from compiler.speecht5 import checkpoint
from compiler.speecht5.saved_vocoder import SavedVocoder
from compiler.speecht5.saved_voice import TOKENIZER, SavedSpeech, SavedVoice
from compiler.speecht5.saving import describe, write_tokenizer
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.speecht5.traces import FACTS, MODEL, REST, VOCODER, Entry, digest_of
from compiler.speecht5.vocoder import CompiledHifiGan, planned
from compiler.speecht5.vocoder_options import options_beside
from compiler.speecht5.voice import Voice

if TYPE_CHECKING:
    from compiler.target.options import PlanOptions

MOST_ENTRIES = 8
"""Entries to keep, those that were used last."""
_ENTRY = re.compile(r"[0-9a-f]{32}", re.ASCII)


def compiled(entry: Entry) -> CompiledSpeechT5:
    """Compile the checkpoint of an entry, with graphs and numbers out of it; weights are the checkpoint's.

    It is loaded to be traced when a graph is asked for that the entry does not have.
    """
    facts, speech = entry.facts, entry.speech
    assert facts is not None
    spec = record(SavedSpec, facts["spec"], "spec").spec
    source = _remembered(entry, "", entry.options, lambda: _model(entry))
    made = CompiledSpeechT5.of(source, spec, entry.options)
    describe(made, speech)
    made.checkpoint = str(entry.source)
    if speech.has_vocoder:
        options, saved = options_beside(entry.options), record(SavedVocoder, facts["vocoder"], "vocoder")
        spec = record(SavedSpec, facts["vocoder_spec"], "vocoder_spec").spec
        source = _remembered(entry, VOCODER, options, lambda: _vocoder(entry))
        made.vocoder = CompiledHifiGan.of(source, spec, options)
        made.vocoder.config, made.vocoder.receptive_field = saved.config, saved.receptive_field
    speakers, words = checkpoint.speakers_of(entry.source), checkpoint.known_words(str(entry.source))
    made.voice = Voice(SimpleNamespace(config=made.config), entry.tokenizer(), speakers, made.vocoder, words)
    return made


def _remembered(entry: Entry, part: str, options: PlanOptions, compile: Any) -> Remembered:
    stored = load_file(entry.source / part / MODEL) | load_file(entry.folder / part / REST)
    return Remembered(entry.folder / part, options, Weights(stored), compile)


def _model(entry: Entry) -> CompiledModel:
    return CompiledSpeechT5(checkpoint.load_model(str(entry.source)), entry.options, owned=True)


def _vocoder(entry: Entry) -> CompiledModel:
    return planned(checkpoint.load_vocoder(str(entry.source / VOCODER)), entry.options)


def keep(entry: Entry, compiled: CompiledSpeechT5, voice: Voice) -> None:
    """Keep the graphs that a run made of a checkpoint, and what speaking takes besides.

    Nothing is kept where that cannot be written, and of a voice that needs transformers in any case.
    """
    try:
        entry.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if entry.facts is None and not _keep_facts(entry, compiled, voice):
            shutil.rmtree(entry.folder, ignore_errors=True)
            return
        for model, part in ((compiled, ""), (compiled.vocoder, VOCODER)):
            if model is not None:
                remember(model, entry.folder / part)
        _bound(entry.folder)
    except (OSError, CompilerError, SafetensorError):
        return


def _keep_facts(entry: Entry, compiled: CompiledSpeechT5, voice: Voice) -> bool:
    """Write what is not a graph; return whether that can do without transformers."""
    vocoder, spec = compiled.vocoder, SavedSpec.of(compiled.spec, {})
    with TemporaryDirectory() as place:
        (Path(place) / TOKENIZER).mkdir()
        numbers = write_tokenizer(voice.tokenizer, Path(place))
    if numbers is None or (vocoder is None) != (voice.vocoder is None):
        return False
    if vocoder is not None and not (entry.source / VOCODER / MODEL).is_file():
        return False
    own = SavedVoice(numbers, _normalizes(entry), (), bool(voice.speakers))
    speech = SavedSpeech(
        compiled.constants,
        spec.lengths["text"].longest,
        spec.lengths["steps"].longest,
        getattr(compiled.config, "max_piece_tokens", None),
        own,
        vocoder is not None,
        compiled.postnet_halo if compiled.options.postnet == "chunks" else None,
    )
    facts: dict[str, Any] = {"speech": asdict(speech), "spec": asdict(spec)}
    rests = {REST: _rest(entry, "", compiled)}
    if vocoder is not None:
        rests[f"{VOCODER}/{REST}"] = _rest(entry, VOCODER, vocoder)
        facts["vocoder"] = asdict(SavedVocoder(vocoder.config, vocoder.receptive_field))
        facts["vocoder_spec"] = asdict(SavedSpec.of(vocoder.spec, {}))
    write_checked(entry.folder / FACTS, json.dumps({**facts, "rests": rests}))
    return True


def _normalizes(entry: Entry) -> bool:
    """Whether the checkpoint says that numbers are spelt out, whatever this run was told."""
    return bool(checkpoint.load_tokenizer(str(entry.source)).normalize)


def _rest(entry: Entry, part: str, compiled: CompiledModel) -> str:
    """Write the parameters that graphs read and the checkpoint's file has not, or not as they are; their digest."""
    there = load_file(entry.source / part / MODEL)
    rest = {
        name: tensor.contiguous().clone()
        for name, tensor in compiled.source.weights.parameters.items()
        if name not in there or there[name].dtype != tensor.dtype or not torch.equal(there[name], tensor)
    }
    file = entry.folder / part / REST
    file.parent.mkdir(exist_ok=True)
    new = beside(file)
    save_file(rest, new)
    new.replace(file)
    return digest_of(file)


def _bound(folder: Path) -> None:
    """Note that this entry was used, and drop those that were not for longest."""
    os.utime(folder)
    entries = [each for each in folder.parent.iterdir() if _ENTRY.fullmatch(each.name) and each.is_dir()]
    for old in sorted(entries, key=lambda each: each.stat().st_mtime)[:-MOST_ENTRIES]:
        shutil.rmtree(old, ignore_errors=True)
