"""A functional graph compiler for SpeechT5 text to speech on Tenstorrent hardware."""

from compiler.errors import (
    CompilerError,
    InvalidArgument,
    InvalidGraph,
    SpeechTooLong,
    UnsupportedModel,
    UnsupportedOperation,
)
from compiler.options import CompileOptions
from compiler.speecht5 import CompiledSpeechT5, compile_speecht5

__version__ = "0.1.0"
__all__ = [
    "CompileOptions",
    "CompiledSpeechT5",
    "CompilerError",
    "InvalidArgument",
    "InvalidGraph",
    "SpeechTooLong",
    "UnsupportedModel",
    "UnsupportedOperation",
    "compile_speecht5",
]
