"""Text to sound in one call, for a first try and for a notebook."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from compiler.folder import is_saved
from compiler.speecht5 import checkpoint, saving, speaking
from compiler.speecht5.checkpoint_config import named
from compiler.speecht5.quiet import quiet
from compiler.speecht5.saved_voice import described
from compiler.speecht5.text_to_speech import CompiledSpeechT5, compile_speecht5
from compiler.speecht5.voice import Voice


def speak(
    text: str, *, model: str | Path | None = None, speaker: str | Path | None = None, seed: int = 0
) -> speaking.Speech:
    """Say ``text``: ``compiler.speak("four nine three").save("speech.wav")``.

    ``model`` is a checkpoint folder or a name on the hub, with a vocoder, which is compiled in float32 for this call;
    or a saved model, which is only loaded; by default the small voice that ships with the project, which is compiled
    once a process. ``speaker`` is a name among the model's speakers or a file, by default the first by name; ``seed``
    that of the pre-net's dropout: equal arguments give equal sound. For other options, and to compile once and speak
    often, see :func:`compiler.compile_speecht5` and :func:`compiler.speaking.speak`.

    Raises ``InvalidArgument`` for what cannot be said, before anything is compiled, and what ``compile_speecht5`` and
    ``load`` raise.
    """
    name = None if model is None else named(model)
    if name is not None and is_saved(name):
        found = described(name)
        _ = found.voice  # refused here where there is none
        loaded = saving.load(found)
        assert isinstance(loaded, CompiledSpeechT5) and loaded.voice is not None
        return speaking.speak(loaded.voice, loaded, text, speaker, seed)
    voice = _small_voice() if name is None else _voice(name)
    speaking.prepare(voice, text, speaker)
    compiled = _small_compiled() if name is None else _compiled(voice)
    return speaking.speak(voice, compiled, text, speaker, seed)


def _voice(model: str) -> Voice:
    with quiet():
        return checkpoint.load_voice(model)


def _compiled(voice: Voice) -> CompiledSpeechT5:
    with quiet():
        return compile_speecht5(voice.model, vocoder=voice.vocoder)


@cache
def _small_voice() -> Voice:
    return _voice(str(checkpoint.SMALL_VOICE))


@cache
def _small_compiled() -> CompiledSpeechT5:
    return _compiled(_small_voice())
