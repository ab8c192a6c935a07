"""Small models that the tests of a process share, with their compiled forms: only read them.

Tracing takes nine tenths of the time to compile a small model. A trace depends on the configuration and the batch, and
names its parameters, so that models which differ in their weights, or are compiled with other options, share it here.
What is tested of tracing itself compiles its own model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from compiler import CompiledSpeechT5, CompileOptions
from compiler.speecht5.checkpoint import SMALL_VOICE, Voice, load_voice
from compiler.speecht5.quiet import quiet
from tests.models import lively

Pair = tuple[Any, CompiledSpeechT5]
"""A model and its compiled form."""
_Named = tuple[tuple[str, Any], ...]
_OF_THE_TRACE = ("batch_size", "postnet")
"""Options that no plan changes; traces are shared by models of one batch, and the post-nets have one each."""


@cache
def small_voice() -> tuple[Voice, CompiledSpeechT5]:
    """Return the voice that ships with the project, and its model compiled for one row in float32."""
    with quiet():
        voice = load_voice(str(SMALL_VOICE))
        return voice, CompiledSpeechT5(voice.model, CompileOptions())


def shared(changes: Mapping[str, Any] | None = None, drawn: Mapping[str, Any] | None = None, **options: Any) -> Pair:
    """Return ``lively(small(**changes), **drawn)`` and its compiled form, the same objects for equal arguments."""
    return _shared(*(tuple(sorted((named or {}).items())) for named in (changes, drawn, options)))


@cache
def _shared(changes: _Named, drawn: _Named, options: _Named) -> Pair:
    plan = {name: value for name, value in options if name not in _OF_THE_TRACE}
    traced = {name: value for name, value in options if name in _OF_THE_TRACE}
    if plan:
        model, compiled = shared(dict(changes), dict(drawn), **traced)
        return model, compiled.with_plan(**plan)
    model = _model(changes, drawn)
    compiled = CompiledSpeechT5(model, CompileOptions(**traced))
    first = _first(changes, traced.get("batch_size", 1))
    compiled._source = replace(compiled.source, traced=first.source.traced)
    return model, compiled


@cache
def _model(changes: _Named, drawn: _Named) -> Any:
    from tests.fidelity.test_generate_speech import small

    return lively(small(**dict(changes)), **dict(drawn))


@cache
def _first(changes: _Named, batch_size: int) -> CompiledSpeechT5:
    """Whoever holds the traces of a configuration and batch."""
    return CompiledSpeechT5(_model(changes, ()), CompileOptions(batch_size=batch_size))
