"""What one call of ``generate_speech`` asks for: its arguments, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compiler.arguments import function, number, whole
from compiler.errors import InvalidArgument
from compiler.runtime.executor import Executor
from compiler.runtime.given import is_dense, told
from compiler.speecht5 import speakers
from compiler.speecht5.speech_model import SpeechModel

TOKEN_DTYPES = (torch.int64, torch.int32, torch.int16, torch.uint8)


@dataclass(frozen=True, slots=True)
class Request:
    """Checked arguments of one call.

    ``ids`` int64 [batch, text], ``mask`` float32 [batch, text], ``speakers`` float32 [batch, dim].
    """

    ids: Tensor
    mask: Tensor
    speakers: Tensor

    @classmethod
    def checked(
        cls,
        model: SpeechModel,
        input_ids: Tensor,
        speaker_embeddings: Any,
        attention_mask: Tensor | None,
        replicas: int = 1,
    ) -> Request:
        """Raises ``InvalidArgument`` for what cannot be spoken, before anything is computed."""
        constants, limits = model.constants, model.limits
        if not is_dense(input_ids) or input_ids.dim() != 2 or input_ids.dtype not in TOKEN_DTYPES:
            raise InvalidArgument(f"input_ids: a tensor of token ids [batch, text] is expected, got {told(input_ids)}")
        batch, length = input_ids.shape
        if batch == 0 or length == 0:
            raise InvalidArgument(f"input_ids are empty ({batch} texts of {length} tokens): there is nothing to say")
        if batch > model.batch_size * replicas:
            each = f" on each of {replicas} devices" if replicas > 1 else ""
            raise InvalidArgument(
                f"{batch} texts in a batch, the model was compiled for {model.batch_size}{each}: "
                f"split the batch or compile with batch_size={-(-batch // replicas)}"
            )
        if length > limits.text:
            raise InvalidArgument(
                f"the text has {length} tokens, the longest that the model was compiled for has {limits.text} "
                f"(its table of positions has {constants.text_positions}): split the text"
            )
        if int(input_ids.min()) < 0 or int(input_ids.max()) >= constants.vocabulary:
            raise InvalidArgument(f"input_ids: token ids from 0 to {constants.vocabulary - 1} are expected")
        if attention_mask is None:
            attention_mask = input_ids != constants.pad_token
        elif not is_dense(attention_mask) or attention_mask.shape != input_ids.shape:
            raise InvalidArgument(
                f"attention_mask: zeros and ones of shape {tuple(input_ids.shape)} are expected, "
                f"got {told(attention_mask)}"
            )
        silent = [row for row in range(batch) if not bool((attention_mask[row] != 0).any())]
        if silent:
            raise InvalidArgument(
                f"row {silent[0]} of input_ids is all padding (its mask is all zeros): there is nothing to say, leave "
                "the row out or unmask its text"
            )
        chosen = _checked_speakers(constants.speaker_dim, speaker_embeddings, batch)
        return cls(input_ids.to(torch.int64), (attention_mask != 0).to(torch.float32), chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """Where to run, how long to go on, and what to report on the way; see ``CompiledSpeechT5.generate_speech``.

    Of ``threshold`` and the ratios a tensor stays one: transformers computes in its type, and so does the loop.
    """

    executor: Executor
    threshold: Any
    minlenratio: Any
    maxlenratio: Any
    output_cross_attentions: bool = False
    generator: torch.Generator | None = None
    progress: Callable[[int, int], None] | None = None
    read_every: int = 1

    def __post_init__(self) -> None:
        if self.generator is not None and not isinstance(self.generator, torch.Generator):
            raise InvalidArgument(f"generator: a torch.Generator is expected, got {told(self.generator)}")
        for name in ("threshold", "minlenratio", "maxlenratio"):
            value = number(name, getattr(self, name), infinite=name == "threshold")
            if isinstance(value, Tensor):
                value = value.detach().cpu().flatten() if value.dim() else value.detach().cpu()
            object.__setattr__(self, name, value)
        function("progress", self.progress)
        object.__setattr__(self, "read_every", whole("read_every", self.read_every))


def _checked_speakers(dim: int, embeddings: Any, batch: int) -> Tensor:
    if embeddings is None:
        raise InvalidArgument(
            f"speaker_embeddings are missing: float [batch, {dim}] (or [1, {dim}]) say whose voice it is"
        )
    found = speakers.rows(embeddings, dim)
    if found is None:
        raise InvalidArgument(
            f"speaker_embeddings: a tensor or array [batch or 1, {dim}] is expected, got {told(embeddings)}"
        )
    if found.shape[0] not in (1, batch):
        raise InvalidArgument(f"speaker_embeddings: 1 row or {batch} are expected, got {found.shape[0]}")
    if not bool(found.isfinite().all()):
        raise InvalidArgument("speaker_embeddings hold numbers that are infinite or not a number")
    return found.expand(batch, -1)
