"""What Hugging Face's own modules make of a text in a plan's number formats: how far their roundings take them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from compiler.frontend.component import share
from compiler.ir.constants import parameters
from compiler.ir.types import DType
from compiler.runtime.weights import in_blocks
from compiler.speecht5.verifying.theirs import ENCODER, Theirs, hooked

FORMATS = {"float32": torch.float64, "bfloat16": torch.bfloat16}
"""In what Hugging Face's modules compute to show what roundings do, by a plan's precision.

Theirs in float32 are what a plan is compared with. So a float32 plan's scale is how far those are from float64.
"""


ITSELF = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""The same without that: what Hugging Face's modules compute in at a plan's precision."""


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """Hugging Face's modules in other numbers, to run on what ours are given. ``said`` names them."""

    said: str
    model: Any
    vocoder: Any

    def runs(self, theirs: Theirs, free: Theirs, most: int) -> OwnRuns:
        """Return the runs that go with two of transformers' loop in float32, made when they are asked for."""
        return OwnRuns(self, theirs, free, most)


@dataclass(eq=False)
class OwnRuns:
    """What the modules of ``own`` make of what Hugging Face's float32 modules had: a fixed run, and one that stops."""

    own: Own
    theirs: Theirs
    free: Theirs
    most: int
    failed: list[str] = field(default_factory=list)
    """Why there is none, where a model of the user's does not compute in these numbers."""

    def of[T](self, figure: Callable[[OwnRuns], T]) -> T | None:
        """A figure of these runs; ``None`` where the modules do not compute in these numbers."""
        if self.failed:
            return None
        try:
            return figure(self)
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            self.failed.append(str(error).splitlines()[0])
            return None

    @cached_property
    def forced(self) -> Theirs:
        """All steps from the text, each from Hugging Face's frames; the post-net is on Hugging Face's frames, too."""
        return self._run(self.theirs.steps, forced=True)

    def stepped(self, count: int) -> Tensor:
        """The first steps on Hugging Face's states and frames: [steps, frames a step, mels]."""
        return self._run(count, forced=True, states=self.theirs.blocks[ENCODER]).frames

    @cached_property
    def long(self) -> Theirs:
        """Free-running speech of the fixed number of steps, with sound where there is a vocoder."""
        return self._run(self.theirs.steps, vocoder=self.own.vocoder)

    @cached_property
    def stopped(self) -> Theirs:
        """Free-running speech until it stops, with sound where float32's has it."""
        return self._run(None, vocoder=None if self.free.sound is None else self.own.vocoder)

    @cached_property
    def vocoded(self) -> Tensor:
        """The vocoder on Hugging Face's spectrogram."""
        with torch.no_grad():
            parameter = next(self.own.vocoder.parameters())
            made: Tensor = self.own.vocoder(self.theirs.refined.to(parameter.dtype)).float()
        return made

    def _run(
        self, steps: int | None, *, vocoder: Any = None, forced: bool = False, states: Tensor | None = None
    ) -> Theirs:
        theirs = self.theirs
        said = (theirs.ids, theirs.speaker, theirs.seed)
        feed = (lambda step, _: theirs.frames[step]) if forced else None
        return hooked(self.own.model, vocoder, *said, steps, self.most, feed=feed, states=states)


def own(compiled: Any, dtype: torch.dtype | None = None) -> Own:
    """Copy the model and the vocoder of a ``CompiledSpeechT5`` to the numbers of its plan, or to ``dtype``.

    In bfloat16, linear and convolution weights that the plan holds in bfloat8_b are rounded to it, as the plan does.
    """
    options = compiled.options
    dtype = FORMATS[options.precision] if dtype is None else dtype
    held = set(_in_blocks(compiled)) if dtype == torch.bfloat16 else set()
    vocoder = None if compiled.vocoder is None else compiled.vocoder.source.model
    model, vocoder = (
        None if each is None else _rounded(copy.deepcopy(share(each)), held).to(dtype)
        for each in (compiled.source.model, vocoder)
    )
    weights = f", weights {options.weights}" if held else ""
    return Own(f"Hugging Face in {str(dtype).removeprefix('torch.')}{weights}", model, vocoder)


def _in_blocks(compiled: Any) -> Iterator[str]:
    """The parameters that go into what the graphs hold in bfloat8_b."""
    if compiled.options.weights == "bfloat16":
        return
    for name in compiled.names:
        for constant in compiled.graph(name).graph.constants:
            if constant.value.type.dtype is DType.BFLOAT8_B:
                yield from parameters(constant.expression)


def _rounded(model: Any, held: set[str]) -> Any:
    """Round weights by name; 16 outputs of one input share an exponent."""
    with torch.no_grad():
        for place, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.ConvTranspose1d) and f"{place}.weight" in held:
                outputs = 1 if isinstance(module, nn.ConvTranspose1d) else 0
                weight = module.weight
                weight.copy_(in_blocks(weight.movedim(outputs, -1)).movedim(-1, outputs))
    return model
