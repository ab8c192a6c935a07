"""Define the project's errors. Each message says where, what was expected, what came and what to do next."""

from __future__ import annotations


class CompilerError(Exception):
    """Any error that the user can act on; the command line prints it without a traceback.

    ``arguments`` names the arguments of Python that the message tells of as ``name=value``: where the user typed
    options, the command line puts these in their place (``compiler.cli.spelled``).
    """

    def __init__(self, *said: object, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(*said)
        self.arguments = arguments


class InvalidArgument(CompilerError, ValueError):
    """An unusable argument of the API or the command line."""


class GraphSyntaxError(InvalidArgument):
    """A text that is not a graph; the message shows line and column, and what was expected there."""


class UnsupportedModel(CompilerError, TypeError):
    """A model that is not a SpeechT5 text-to-speech model, or that cannot be traced."""


class UnsupportedOperation(CompilerError):
    """The traced model uses ops that the compiler refuses or has no lowering for; the message lists all of them."""


class InvalidGraph(CompilerError):
    """A graph that breaks a rule of its stage, by a fault of the pass that made it or of the text it was read from."""


class SpeechTooLong(CompilerError, RuntimeError):
    """Decoding reached the end of the model's table of speech positions before the stop token."""


class DeviceError(CompilerError, RuntimeError):
    """A device, real or mock, that cannot be opened or prepared, refuses an op, crashed or hung."""
