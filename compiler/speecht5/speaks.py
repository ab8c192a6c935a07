"""Speech of a compiled model's graphs, under the names and with the parameters that transformers has for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from compiler.arguments import whole
from compiler.errors import InvalidArgument
from compiler.runtime.executor import Executor
from compiler.runtime.reference import checked_executor
from compiler.speecht5 import decoding, results, streaming
from compiler.speecht5.request import LoopOptions, Request
from compiler.speecht5.speech_model import SpeechModel
from compiler.speecht5.vocoder import CompiledHifiGan
from compiler.torch_state import unaffected


class Speaks(ABC):
    """The part of a compiled SpeechT5 that decodes speech, whole or in chunks."""

    @property
    @abstractmethod
    def speech_model(self) -> SpeechModel:
        """The graphs and plain data that the loop takes."""

    @unaffected
    def generate_speech(
        self,
        input_ids: Tensor,
        speaker_embeddings: Tensor | NDArray[Any] | None = None,
        attention_mask: Tensor | None = None,
        threshold: float = 0.5,
        minlenratio: float = 0.0,
        maxlenratio: float = 20.0,
        vocoder: Callable[[Tensor], Tensor] | None = None,
        output_cross_attentions: bool = False,
        return_output_lengths: bool = False,
        *,
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
        read_every: int = 1,
    ) -> Any:
        """Speech for a batch of texts: parameters and results are those of ``SpeechT5ForTextToSpeech.generate_speech``.

        ``input_ids`` int64 [batch, text]; ``speaker_embeddings`` float [dim], [batch or 1, dim] or [batch or 1, 1,
        dim], a tensor or a NumPy array; ``attention_mask`` [batch, text] of zeros and ones, by default zero on the pad
        token. ``vocoder`` takes spectrograms [batch, frames, mels] (or one, [frames, mels]): the compiled one
        (``self.vocoder``), which runs where the other graphs do, or any function. ``threshold`` and the ratios are
        numbers, NumPy's, or tensors with one; negative ones count as transformers counts them, and an
        infinite ``threshold`` is never reached.

        Returns the spectrogram [frames, mels] (or [batch, frames, mels], zeros after a row's end), the vocoder's
        sound where one is given, lengths besides with ``return_output_lengths``, and cross-attentions last. For a
        batch, transformers' view of the cross-attentions mixes layers and rows; it is reproduced as it is: element
        ``[i, j]`` holds layer ``(i * layers + j) // batch``, row
        ``(i * layers + j) % batch``.

        ``generator`` draws the prenet's dropout instead of torch's global one. ``progress`` is called after each step
        with the step and the most steps that can come. ``executor`` is where the graphs run, by default the reference
        executor. The probabilities to stop are read every ``read_every`` steps: with more, a device waits less for the
        host, and computes up to that many steps that are then dropped. Raises ``InvalidArgument`` for unfit arguments,
        ``SpeechTooLong`` when decoding reaches the end of the table of speech positions.

        Nothing that torch keeps beside arguments has an effect: the default dtype and device, autocast, inference mode.
        Threads that speak at once with torch's global generator share it: hand each its own for speech that repeats.
        """
        options = LoopOptions(
            executor=checked_executor(executor),
            threshold=threshold,
            minlenratio=minlenratio,
            maxlenratio=maxlenratio,
            output_cross_attentions=output_cross_attentions,
            generator=generator,
            progress=progress,
            read_every=read_every,
        )
        model, request = self._checked_call(input_ids, speaker_embeddings, attention_mask, vocoder, options)
        if isinstance(vocoder, CompiledHifiGan):
            vocoder = partial(vocoder, executor=options.executor)
        decoded = decoding.decode(model, request, options)
        return results.arrange(decoded, vocoder, output_cross_attentions, return_output_lengths)

    @unaffected
    def stream_speech(
        self,
        input_ids: Tensor,
        speaker_embeddings: Tensor | NDArray[Any] | None = None,
        attention_mask: Tensor | None = None,
        threshold: float = 0.5,
        minlenratio: float = 0.0,
        maxlenratio: float = 20.0,
        vocoder: Callable[[Tensor], Tensor] | None = None,
        output_cross_attentions: bool = False,
        return_output_lengths: bool = False,
        *,
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
        executor: Executor | None = None,
        read_every: int = 1,
        chunk_steps: int | None = None,
        halo: int | None = None,
        rows_alone: bool = False,
    ) -> Generator[Any]:
        """Speech in chunks, while the decoder still runs: a generator, with the parameters of :meth:`generate_speech`.

        A chunk is refined frames [frames, mels], or sound [samples] where a ``vocoder`` is given; for a batch, or with
        ``return_output_lengths``, a tuple with one for each row, which is empty where the row has ended. With
        ``output_cross_attentions`` it is a pair, of that and the cross-attentions [layers * batch, heads, steps, text]
        of the steps made for it. Joined, the chunks are what :meth:`generate_speech` returns, a row up to its end.

        The first chunk comes after the fewest steps that its first frame depends on, by what post-net and vocoder look
        at; each further one after ``chunk_steps``, by default 16 and then more up to 64. ``halo``: frames on each side
        that a sample of the vocoder's depends on, where it is no ``SpeechT5HifiGan`` and has no ``receptive_field``. A
        vocoder makes each chunk's sound of a window of frames: of all rows, with zeros behind the shorter ones as in
        transformers, or with ``rows_alone`` of each row by itself, as if it had been spoken alone.

        Closing the generator early stops the loop and lets go of what it held. In between, and then, the random
        generator stands as after the steps that were made; who draws from it meanwhile changes what follows. Arguments
        are refused here, and not with the first chunk; ``SpeechTooLong`` comes in its place.
        """
        options = LoopOptions(
            executor=checked_executor(executor),
            threshold=threshold,
            minlenratio=minlenratio,
            maxlenratio=maxlenratio,
            output_cross_attentions=output_cross_attentions,
            generator=generator,
            progress=progress,
            read_every=read_every,
        )
        model, request = self._checked_call(input_ids, speaker_embeddings, attention_mask, vocoder, options)
        chunk_steps = None if chunk_steps is None else whole("chunk_steps", chunk_steps)
        halo = None if halo is None else whole("halo", halo, 0)
        sounding = None if vocoder is None else streaming.sounding_of(vocoder, halo, rows_alone, options.executor)
        stream = streaming.Stream(model, request, options, sounding, chunk_steps)
        return _chunks(stream, request.ids.shape[0] > 1 or bool(return_output_lengths), output_cross_attentions)

    def _checked_call(
        self, input_ids: Any, speaker_embeddings: Any, attention_mask: Any, vocoder: object, options: LoopOptions
    ) -> tuple[SpeechModel, Request]:
        model = self.speech_model
        if vocoder is not None and not callable(vocoder):
            raise InvalidArgument(f"vocoder: a function of spectrograms is expected, got {type(vocoder).__name__}")
        replicas = options.executor.replicas
        return model, Request.checked(model, input_ids, speaker_embeddings, attention_mask, replicas)


def _chunks(stream: streaming.Stream, rows: bool, attentions: bool) -> Generator[Any]:
    """Chunks in the form in which callers get them."""
    with closing(stream.chunks()) as chunks:
        for chunk in chunks:
            made = chunk.rows if rows else chunk.rows[0]
            yield (made, chunk.cross_attentions) if attentions else made
