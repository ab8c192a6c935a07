"""What the prenet's dropout, which is always on, drops: drawn as transformers does, and written as a step reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from compiler.speecht5.speech_model import SpeechConstants

DROPPED = 1e30
"""What is taken from a unit to drop it: more than any unit is, and finite in bfloat16."""


def dropout_row(bias: Tensor, kept: Tensor) -> Tensor:
    """Write a row of the step's input ``dropout_rows``, float32 [layers * units].

    ``kept`` bools [layers * units] say which units are kept. The first layer's part is ``bias`` [units], less
    ``DROPPED`` where a unit is dropped; the others' is ``DROPPED`` there and zero elsewhere.
    """
    dropped, units = kept.logical_not().to(torch.float32) * DROPPED, bias.shape[0]
    return torch.cat([bias - dropped[:units], dropped[units:]])


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

    def draw(self, step: int) -> Tensor:
        """Which units are kept in step ``step``: bools [layers * units]. Without the factor of those that are kept."""
        shape = (step, self._units)
        drawn = (
            torch.empty(shape, dtype=torch.float32, device="cpu").bernoulli_(self._p, generator=self._generator)
            for _ in range(self._layers)
        )
        return torch.cat([mask[-1] for mask in drawn]) != 0

    @property
    def state(self) -> Tensor:
        """Where the generator stands: what :meth:`rewind` takes to undo draws made ahead."""
        return torch.get_rng_state() if self._generator is None else self._generator.get_state()

    def rewind(self, state: Tensor) -> None:
        """Put the generator back."""
        if self._generator is None:
            torch.set_rng_state(state)
        else:
            self._generator.set_state(state)


class DropoutRows:
    """The rows of ``dropout_rows`` of one utterance, drawn ahead of the steps that read them."""

    def __init__(self, constants: SpeechConstants, generator: torch.Generator | None) -> None:
        self._masks = DropoutMasks(constants.prenet_layers, constants.prenet_units, constants.prenet_dropout, generator)
        self._bias = torch.tensor(constants.prenet_bias, dtype=torch.float32, device="cpu")
        self._states = [self._masks.state]
        self.table = torch.empty(0, dtype=torch.float32, device="cpu")

    @property
    def drawn(self) -> int:
        """Steps for which rows were drawn."""
        return len(self._states) - 1

    def begin(self, shape: Sequence[int]) -> Tensor:
        """Make the table float32 [steps, layers * units] of a bucket: zeros, whose rows come as they are drawn."""
        self.table = torch.zeros(tuple(shape), dtype=torch.float32, device="cpu")
        return self.table

    def draw(self, until: int) -> None:
        """Draw the rows of all steps up to ``until`` that were not drawn.

        After an exception the generator stands behind the last step whose row counts as drawn.
        """
        self._states[-1] = self._masks.state  # where others drew from it since, that is not taken back
        try:
            for step in range(self.drawn, until):
                self.table[step] = dropout_row(self._bias, self._masks.draw(step + 1))
                self._states.append(self._masks.state)
        except BaseException:
            self._masks.rewind(self._states[-1])
            raise

    def skip(self) -> None:
        """Draw for one more step, that will not be made."""
        self._masks.draw(self.drawn + 1)
        self._states.append(self._masks.state)

    def rewind(self, steps: int) -> None:
        """Put the generator where it stood after ``steps`` steps: rows past it are to be drawn again."""
        if steps < self.drawn:
            self._masks.rewind(self._states[steps])
            del self._states[steps + 1 :]
