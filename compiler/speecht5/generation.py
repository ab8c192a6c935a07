"""What transformers asks of a model that generates, so that ``pipeline("text-to-speech", model=...)`` takes ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self, TypedDict, Unpack

import torch
from numpy.typing import NDArray
from torch import Tensor

from compiler.choices import advice
from compiler.errors import InvalidArgument
from compiler.runtime.executor import Executor
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.saved_voice import Config
from compiler.speecht5.vocoder import CompiledHifiGan


class Generated(TypedDict, total=False):
    """What ``generate(return_dict_in_generate=True)`` returns, under the names that transformers' pipeline knows.

    ``audio`` float32 [samples] or [batch, samples]; ``lengths`` in samples and ``cross_attentions`` where asked for.
    """

    audio: Tensor
    lengths: list[int]
    cross_attentions: Tensor


class Unheeded(TypedDict, total=False):
    """Arguments that transformers hands any model that generates. No SpeechT5 heeds them, ours as little as theirs.

    A ``generation_config`` is only asked for ``return_dict_in_generate``.
    """

    generation_config: Any
    max_new_tokens: int | None
    pad_token_id: int | None


class Generates:
    """The part of a compiled SpeechT5 under transformers' names."""

    main_input_name: ClassVar[str] = "input_ids"
    input_modalities: ClassVar[tuple[str, ...]] = ("text",)
    output_modalities: ClassVar[tuple[str, ...]] = ("audio",)

    options: CompileOptions
    vocoder: CompiledHifiGan | None
    generate_speech: Callable[..., Any]
    _config: Any

    @property
    def config(self) -> Any:
        """The model's configuration. With a vocoder it has the ``sampling_rate`` of its sound, which pipelines want."""
        rate = None if self.vocoder is None else self.vocoder.config.sampling_rate
        if rate is not None and getattr(self._config, "sampling_rate", None) != rate:
            if isinstance(self._config, Config):
                self._config = replace(self._config, sampling_rate=rate)
            else:  # transformers' own may have more attributes than fields
                self._config = copy.copy(self._config)
                self._config.sampling_rate = rate
        return self._config

    @config.setter
    def config(self, config: Any) -> None:
        self._config = config

    @property
    def generation_config(self) -> Any:
        """A ``GenerationConfig`` of transformers with nothing set: a SpeechT5 has no such parameters."""
        from transformers import GenerationConfig  # noqa: PLC0415, which only transformers' own code asks for

        return GenerationConfig()

    @property
    def device(self) -> torch.device:
        """Where inputs are expected and results are: the CPU. An executor sees to the device that the graphs run on."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The plan's float type."""
        return self.options.dtype.on_host

    @staticmethod
    def can_generate() -> bool:
        """Whether there is a :meth:`generate`."""
        return True

    def to(self, device: str | torch.device) -> Self:
        """The model itself, for the CPU. Raises ``InvalidArgument`` for a device of torch's, where no graph runs."""
        if torch.device(device).type != "cpu":
            raise InvalidArgument(
                f"device={str(device)!r}: a compiled model takes and returns tensors on the CPU: name it, as in "
                "pipeline(..., device='cpu'); for a Tenstorrent device, hand generate an executor of "
                "compiler.open_device()"
            )
        return self

    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        speaker_embeddings: Tensor | NDArray[Any] | None = None,
        threshold: float = 0.5,
        minlenratio: float = 0.0,
        maxlenratio: float = 20.0,
        vocoder: Callable[[Tensor], Tensor] | None = None,
        output_cross_attentions: bool = False,
        return_output_lengths: bool = False,
        *,
        return_dict_in_generate: bool | None = None,
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
        read_every: int = 1,
        **unheeded: Unpack[Unheeded],
    ) -> Any:
        """Speech for a batch of texts, as ``SpeechT5ForTextToSpeech.generate`` takes its parameters.

        Their order apart, these and the results are those of :meth:`generate_speech`. With ``return_dict_in_generate``,
        which transformers' pipeline asks for, the result is a :class:`Generated`, with the sound of ``vocoder``, by
        default the model's own. The pipeline hands on no ``vocoder`` that it was made with, as it takes none from a
        class that it does not know: give another than the model's in ``forward_params``.

        Raises what :meth:`generate_speech` raises, and ``InvalidArgument`` for an argument that a SpeechT5 does not
        have, which transformers drops silently, and for a dictionary without a vocoder.
        """
        _check_names(unheeded)
        asked = bool(getattr(unheeded.get("generation_config"), "return_dict_in_generate", False))
        as_dict = asked if return_dict_in_generate is None else bool(return_dict_in_generate)
        if as_dict and vocoder is None:
            vocoder = self.vocoder
            if vocoder is None:
                raise InvalidArgument(
                    "there is no vocoder to make sound with, and a pipeline hands on none: compile the model with one, "
                    "as in compile_speecht5(model, vocoder=...), or name one in forward_params={'vocoder': ...}"
                )
        made = self.generate_speech(
            input_ids,
            speaker_embeddings,
            attention_mask,
            threshold,
            minlenratio,
            maxlenratio,
            vocoder,
            output_cross_attentions,
            return_output_lengths,
            generator=generator,
            progress=progress,
            executor=executor,
            read_every=read_every,
        )
        return _named(made, output_cross_attentions, return_output_lengths) if as_dict else made


def _check_names(unheeded: Mapping[str, object]) -> None:
    for name in unheeded:
        if name not in Unheeded.__annotations__:
            known = [each for each in Generates.generate.__annotations__ if each not in ("unheeded", "return")]
            raise InvalidArgument(
                f"generate takes no {name!r}, {advice(name, known)}; a SpeechT5 samples nothing but the dropout of its "
                "pre-net, and ends by threshold and maxlenratio"
            )


def _named(made: Any, attentions: bool, lengths: bool) -> Generated:
    """The results of ``generate_speech`` by name."""
    parts = list(made) if attentions or lengths else [made]
    named = Generated(audio=parts[0])
    if lengths:
        named["lengths"] = parts[1]
    if attentions:
        named["cross_attentions"] = parts[-1]
    return named
