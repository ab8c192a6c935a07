"""Whose voice it is: a speaker of the checkpoint by name, or a vector from a file, an array or a tensor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compiler import arguments
from compiler.errors import InvalidArgument
from compiler.speecht5.reading import reason

if TYPE_CHECKING:
    from compiler.speecht5.voice import Voice

FILES = (".npy", ".npz", ".pt", ".safetensors")
"""Endings of files that a speaker's vector is read from, none of which can run code."""


def embedding(voice: Voice, speaker: str | Path | None = None) -> Tensor:
    """The embedding float32 [1, dim] of a speaker: one of the checkpoint (the first by name by default), or a file.

    A file is ``.npy``, or ``.npz``, ``.pt`` or ``.safetensors`` with one array or tensor in it, of shape [dim], [1,
    dim] or [1, 1, dim]. A name goes before a file. Raises ``InvalidArgument`` for a speaker that there is not and for a
    vector that does not fit the model.
    """
    if speaker is not None and not isinstance(speaker, str | os.PathLike):
        raise InvalidArgument(
            f"speaker: a name or a file is expected, got {type(speaker).__name__}: generate_speech takes a vector, as "
            f"does a file that ends in {', '.join(FILES[:-1])} or {FILES[-1]}"
        )
    speaker = None if speaker is None else str(arguments.path("speaker", speaker))
    if speaker is None:
        if not voice.speakers:
            raise InvalidArgument(
                "the checkpoint has no speakers: name a file with a speaker's vector (--speaker FILE)"
            )
        speaker = min(voice.speakers)
    vector = voice.speakers[speaker] if speaker in voice.speakers else _from_file(voice, speaker)
    dim = voice.model.config.speaker_embedding_dim
    found = rows(vector, dim)
    if found is None or found.shape[0] != 1:
        raise InvalidArgument(
            f"the speaker {speaker!r} is {str(vector.dtype).removeprefix('torch.')} {list(vector.shape)}, and the "
            f"model takes {dim} real numbers: use a vector that was made for this model"
        )
    if not bool(found.isfinite().all()):
        raise InvalidArgument(f"the speaker {speaker!r} has numbers that are infinite or not a number")
    return found


def rows(vectors: Any, dim: int) -> Tensor | None:
    """Speakers float32 [rows, dim] from a tensor or a NumPy array [dim], [rows, dim] or [rows, 1, dim] of real numbers.

    ``None`` where they are nothing of the kind.
    """
    if isinstance(vectors, np.ndarray):
        if vectors.dtype.kind not in "fiu":
            return None
        vectors = torch.from_numpy(np.array(vectors, np.float64))
    if not isinstance(vectors, Tensor) or vectors.is_complex() or vectors.is_meta or vectors.layout != torch.strided:
        return None
    if vectors.dim() == 1:
        vectors = vectors[None]
    elif vectors.dim() == 3 and vectors.shape[1] == 1:
        vectors = vectors[:, 0]
    if vectors.dim() != 2 or vectors.shape[1] != dim:
        return None
    real: Tensor = vectors.detach().to("cpu", torch.float32)
    return real


def _from_file(voice: Voice, speaker: str) -> Any:
    path = Path(speaker)
    if path.suffix.lower() not in FILES:
        known = (
            f"the checkpoint has {', '.join(sorted(voice.speakers))}" if voice.speakers else "the checkpoint has none"
        )
        endings = f"{', '.join(FILES[:-1])} or {FILES[-1]}"
        raise InvalidArgument(f"there is no speaker {speaker!r}: {known}; a file would end in {endings}")
    if not path.is_file():
        raise InvalidArgument(f"there is no speaker file {speaker!r}")
    try:
        held = _held(path)
    except Exception as error:  # damage shows up as almost any type
        raise InvalidArgument(f"the speaker file {speaker!r} cannot be read: {reason(error)}") from None
    if len(held) != 1 or not isinstance(held[0], Tensor | np.ndarray):
        what = f"{len(held)} tensors" if len(held) != 1 else f"a {type(held[0]).__name__}"
        raise InvalidArgument(f"the speaker file {speaker!r} holds {what}, and one vector is expected")
    return held[0]


def _held(path: Path) -> list[Any]:
    """The tensors and arrays in a file, read without running anything that is in it."""
    ending = path.suffix.lower()
    if ending == ".safetensors":
        from safetensors.torch import load_file  # noqa: PLC0415

        return list(load_file(path).values())
    if ending == ".pt":
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return list(loaded.values()) if isinstance(loaded, dict) else [loaded]
    read = np.load(path, allow_pickle=False)
    if isinstance(read, np.ndarray):
        return [read]
    with read as archive:
        return [archive[name] for name in archive.files]
