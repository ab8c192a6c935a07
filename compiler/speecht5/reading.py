"""Reading files with libraries: whatever they raise becomes a refusal that says what to do."""

from __future__ import annotations

import errno
import pickle
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler.errors import CompilerError, InvalidArgument

UNSAFE = "it is damaged, or holds Python objects beside tensors, which could run any code and are never loaded"
"""Said in place of what torch and NumPy advise then, which is to load the file unsafely."""


def reason(error: BaseException) -> str:
    """Why a file could not be read, in one line; the type of the error where it says nothing."""
    said = str(error).strip()
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in said or "allow_pickle" in said:
        return UNSAFE
    line = " ".join(" ".join(said.splitlines()[:2]).split()) or type(error).__name__
    at_a_loss = isinstance(error, struct.error | EOFError | TypeError) or getattr(error, "errno", None) == errno.EINVAL
    return f"it is damaged, or of another kind ({line})" if at_a_loss else line


@contextmanager
def reading(what: str, source: str) -> Iterator[None]:
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
        said = reason(error)
        if (file := _damaged(Path(source))) is not None:
            said = f"{file.name} is damaged ({said}). Copy it again, or save the checkpoint anew"
        cause = None if said == UNSAFE else error  # a traceback would show the cause, and its advice
        raise InvalidArgument(f"{what} could not be loaded from {source!r}: {said}") from cause


def _damaged(folder: Path) -> Path | None:
    """The file of a checkpoint in ``folder`` whose tensors cannot be read, where that is one of safetensors."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415, takes a tenth of a second

    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        try:
            with safe_open(file, "pt"):
                pass
        except (SafetensorError, OSError):
            return file
    return None


def _unreachable(error: BaseException | None) -> bool:
    """Whether the network, or its being switched off, is among the causes."""
    while error is not None:
        if type(error).__name__ in ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError"):
            return True
        error = error.__cause__
    return False
