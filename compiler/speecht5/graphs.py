"""The graphs of SpeechT5, as data for :class:`compiler.compiled.CompiledModel`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from compiler.choices import GRAPHS
from compiler.compiled import GraphSpec, Half, Length, ModelSpec, Prefix
from compiler.frontend.component import Component
from compiler.speecht5 import components
from compiler.speecht5.limits import Limits
from compiler.speecht5.options import CompileOptions

_LOOP = (
    GraphSpec("encoder", "encoder", ("text",)),
    GraphSpec("utterance", "decoder_step", ("text",), Half.ONCE),
    GraphSpec("decoder_step", "decoder_step", ("text", "steps"), Half.STEP),
    GraphSpec("utterance_attentions", "decoder_step_attentions", ("text",), Half.ONCE),
    GraphSpec("decoder_step_attentions", "decoder_step_attentions", ("text", "steps"), Half.STEP),
)
_POSTNETS = {
    "bucket": GraphSpec("postnet", "postnet", ("steps",)),
    "chunks": GraphSpec("postnet", "postnet_window", ("window",)),
    "exact": GraphSpec("postnet", "postnet_exact", ("steps",), prefix=Prefix("spectrogram", 2, "cache")),
}
"""By the option ``postnet``."""


def model_spec(config: Any, options: CompileOptions, limits: Limits, code: components.Code) -> ModelSpec:
    """Describe the graphs of a model: those that an utterance runs, in that order.

    ``code`` is that of the model's classes when it was taken: what is traced later must be of the same.
    """
    batch = options.batch_size
    made: dict[str, Callable[[Any], Component]] = {
        "encoder": lambda model: components.encoder(model, batch),
        "decoder_step": lambda model: components.decoder_step(model, batch),
        "decoder_step_attentions": lambda model: components.decoder_step(model, batch, output_cross_attentions=True),
        "postnet": lambda model: components.postnet(model, batch),
        "postnet_window": lambda model: components.postnet(model, batch, length="window"),
        "postnet_exact": lambda model: components.postnet(model, batch, masked=False),
    }
    graphs = (*_LOOP, _POSTNETS[options.postnet])
    assert tuple(spec.name for spec in graphs) == GRAPHS
    lengths = limits.lengths
    if options.postnet != "exact":
        del lengths["cache"]  # which no graph reads the front of
    frames = {"frames": ("steps", int(config.reduction_factor))}
    if options.postnet == "chunks":
        lengths["window"] = Length("postnet_steps", limits.windows[-1], limits.windows)
        frames = {"frames": ("window", int(config.reduction_factor))}
    checked = {name: _checked(make, code) for name, make in made.items()}
    return ModelSpec(graphs, checked, lengths, frames, once="utterance")


def _checked(make: Callable[[Any], Component], code: components.Code) -> Callable[[Any], Component]:
    def component(model: Any) -> Component:
        components.check_code(model, code)
        return make(model)

    return component
