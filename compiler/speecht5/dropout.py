"""The masks of the prenet's dropout, which is always on, drawn as transformers draws them."""

from __future__ import annotations

import torch


class DropoutMasks:
    """Draws the masks of one utterance, step by step.

    At step ``t`` (from 1) transformers runs the prenet on all ``t`` frames and draws, a layer after the other, ``[t,
    units]`` numbers, shared by the rows of the batch; only the last row has an effect. Drawing the same numbers in
    the same order gives the same speech under one seed, and leaves the generator in the same state. Source:
    ``SpeechT5SpeechDecoderPrenet``'s
    ``_consistent_dropout``.
    """

    def __init__(self, layers: int, units: int, p: float, generator: torch.Generator | None) -> None:
        self._layers, self._units, self._p, self._generator = layers, units, p, generator

    def draw(self, step: int) -> torch.Tensor:
        """Which units are kept in step ``step``: bools [layers * units]. Without the factor of those that are kept."""
        shape = (step, self._units)
        drawn = (
            torch.empty(shape, dtype=torch.float32, device="cpu").bernoulli_(self._p, generator=self._generator)
            for _ in range(self._layers)
        )
        return torch.cat([mask[-1] for mask in drawn]) != 0

    @property
    def state(self) -> torch.Tensor:
        """Where the generator stands: what :meth:`rewind` takes to undo draws made ahead."""
        return torch.get_rng_state() if self._generator is None else self._generator.get_state()

    def rewind(self, state: torch.Tensor) -> None:
        """Put the generator back."""
        if self._generator is None:
            torch.set_rng_state(state)
        else:
            self._generator.set_state(state)
