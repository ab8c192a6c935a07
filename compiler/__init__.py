"""A functional graph compiler for SpeechT5 text to speech on Tenstorrent hardware."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from compiler.errors import (
    CompilerError,
    DeviceError,
    InvalidArgument,
    InvalidGraph,
    SpeechTooLong,
    UnsupportedModel,
    UnsupportedOperation,
)

if TYPE_CHECKING:
    from compiler.device.opening import open_device
    from compiler.inspect.checking import check
    from compiler.speecht5 import checkpoint, speakers, speaking
    from compiler.speecht5.emitting import emit
    from compiler.speecht5.one_call import speak
    from compiler.speecht5.options import CompileOptions
    from compiler.speecht5.saving import load, save
    from compiler.speecht5.text_to_speech import CompiledSpeechT5, compile_speecht5
    from compiler.speecht5.vocoder import CompiledHifiGan, compile_vocoder
    from compiler.speecht5.vocoder_options import VocoderOptions

__version__ = "0.1.0"
__all__ = [
    "CompileOptions",
    "CompiledHifiGan",
    "CompiledSpeechT5",
    "CompilerError",
    "DeviceError",
    "InvalidArgument",
    "InvalidGraph",
    "SpeechTooLong",
    "UnsupportedModel",
    "UnsupportedOperation",
    "VocoderOptions",
    "check",
    "checkpoint",
    "compile_speecht5",
    "compile_vocoder",
    "emit",
    "load",
    "open_device",
    "save",
    "speak",
    "speakers",
    "speaking",
]

# torch and transformers take seconds to import: `python -m compiler --help` and the errors do without them.
_LAZY = {
    "CompileOptions": "compiler.speecht5.options",
    "CompiledHifiGan": "compiler.speecht5.vocoder",
    "CompiledSpeechT5": "compiler.speecht5.text_to_speech",
    "VocoderOptions": "compiler.speecht5.vocoder_options",
    "check": "compiler.inspect.checking",
    "checkpoint": "compiler.speecht5",
    "compile_speecht5": "compiler.speecht5.text_to_speech",
    "compile_vocoder": "compiler.speecht5.vocoder",
    "emit": "compiler.speecht5.emitting",
    "load": "compiler.speecht5.saving",
    "open_device": "compiler.device.opening",
    "save": "compiler.speecht5.saving",
    "speak": "compiler.speecht5.one_call",
    "speakers": "compiler.speecht5",
    "speaking": "compiler.speecht5",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from compiler.versions import require  # noqa: PLC0415, not needed for help, and the sooner Ctrl-C is seen to

    for package in ("torch", "transformers"):
        require(package)
    room = import_module(_LAZY[name])
    found = getattr(room, name) if hasattr(room, name) else import_module(f"{_LAZY[name]}.{name}")
    globals()[name] = found  # Python looks here first: versions are read once, which takes milliseconds
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
