"""What ``generate_speech`` returns: spectrograms or sound, in the forms that transformers gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from compiler.runtime import threads
from compiler.speecht5.decoding import Decoded
from compiler.torch_state import computing


def sound_of(vocoder: Callable[[Tensor], Tensor], spectrogram: Tensor) -> Tensor:
    """What a vocoder makes, with torch as in the graphs."""
    with computing(), threads.at_most(threads.for_vocoder(vocoder)):
        return vocoder(spectrogram)


def arrange(
    decoded: Decoded,
    vocoder: Callable[[Tensor], Tensor] | None,
    output_cross_attentions: bool,
    return_output_lengths: bool,
) -> Any:
    """The results as transformers returns them."""
    rows = decoded.spectrograms
    batch, lengths = len(rows), [row.shape[0] for row in rows]
    padded = pad_sequence(list(rows), batch_first=True)
    if not return_output_lengths:
        spectrogram = rows[0] if batch == 1 else padded
        result: Any = spectrogram if vocoder is None else sound_of(vocoder, spectrogram)
    elif vocoder is None:
        result = (padded, lengths)
    else:
        sound = sound_of(vocoder, padded)
        result = (sound, [int(sound.size(1) / max(lengths)) * length for length in lengths])
    if not output_cross_attentions:
        return result
    attentions = decoded.cross_attentions
    assert attentions is not None
    if batch > 1 or return_output_lengths:
        attentions = attentions.view(batch, -1, *attentions.shape[-3:])
    return (*result, attentions) if return_output_lengths else (result, attentions)
