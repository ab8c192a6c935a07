"""What the libraries say of a file that they could not read, fit for the message of a refusal."""

from __future__ import annotations

import errno
import pickle
import struct

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
