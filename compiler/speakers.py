"""Whose voice it is: a speaker of the checkpoint by name, or a vector from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from compiler.checkpoint import Voice
from compiler.errors import InvalidArgument


def embedding(voice: Voice, speaker: str | None = None) -> Tensor:
    """The embedding float32 [1, dim] of a speaker: one of the checkpoint (the first by name by default), or a file.

    A file is ``.npy`` with one vector [dim] or [1, dim], or ``.safetensors`` with one such tensor. A name goes before a
    file. Raises ``InvalidArgument`` for a speaker that there is not and for a vector that does not fit the model.
    """
    if speaker is None:
        if not voice.speakers:
            raise InvalidArgument(
                "the checkpoint has no speakers: name a file with a speaker's vector (--speaker FILE)"
            )
        speaker = min(voice.speakers)
    vector = voice.speakers[speaker] if speaker in voice.speakers else _from_file(voice, speaker)
    dim = voice.model.config.speaker_embedding_dim
    if tuple(vector.shape) not in ((dim,), (1, dim)):
        raise InvalidArgument(
            f"the speaker {speaker!r} has a vector of shape {list(vector.shape)}, and the model takes {dim} numbers: "
            "use a vector that was made for this model"
        )
    if vector.is_complex() or not bool(vector.isfinite().all()):
        raise InvalidArgument(f"the speaker {speaker!r} has numbers that are complex, infinite or not a number")
    return vector.to(torch.float32).reshape(1, dim)


def _from_file(voice: Voice, speaker: str) -> Tensor:
    path = Path(speaker)
    if path.suffix not in (".npy", ".safetensors"):
        known = (
            f"the checkpoint has {', '.join(sorted(voice.speakers))}" if voice.speakers else "the checkpoint has none"
        )
        raise InvalidArgument(f"there is no speaker {speaker!r}: {known}; a file would end in .npy or .safetensors")
    if not path.is_file():
        raise InvalidArgument(f"there is no speaker file {speaker!r}")
    try:
        tensors = [torch.from_numpy(np.load(path))] if path.suffix == ".npy" else list(load_file(path).values())
    except Exception as error:  # damage shows up as almost any type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidArgument(f"the speaker file {speaker!r} cannot be read: {reason}") from error
    if len(tensors) != 1:
        raise InvalidArgument(f"the speaker file {speaker!r} holds {len(tensors)} tensors, and one vector is expected")
    return tensors[0]
