"""What stand-ins and the decoding loop take the place of, which must be transformers' own code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module
from transformers import DynamicCache, EncoderDecoderCache, SpeechT5ForTextToSpeech, cache_utils
from transformers.models.speecht5 import modeling_speecht5 as speecht5

from compiler.errors import UnsupportedModel
from compiler.runtime import threads
from compiler.speecht5.components.own_code import code_of, foreign, is_own_linear, settle
from compiler.speecht5.dropout import DROPPED


@dataclass(frozen=True, slots=True)
class Replaced:
    """Methods of the module at ``path`` (or, without a path, of a class) that the compiled graphs do not run as is."""

    path: str | None
    kind: type
    methods: tuple[str, ...]


REPLACED = (
    Replaced("", SpeechT5ForTextToSpeech, ("generate_speech",)),
    Replaced("speecht5.encoder.wrapped_encoder", speecht5.SpeechT5Encoder, ("forward",)),
    Replaced("speecht5.decoder.prenet", speecht5.SpeechT5SpeechDecoderPrenet, ("forward", "_consistent_dropout")),
    Replaced("speecht5.decoder.prenet.encode_positions", speecht5.SpeechT5ScaledPositionalEncoding, ("forward",)),
    Replaced("speecht5.decoder.wrapped_decoder", speecht5.SpeechT5Decoder, ("forward",)),
    Replaced(None, EncoderDecoderCache, ("__init__",)),
    Replaced(None, DynamicCache, ("update",)),
    Replaced(None, cache_utils.DynamicLayer, ("update",)),
)
"""The loop, the masks that come ready-made, the draws of dropout, one row in place of all, caches of fixed size."""
FUNCTIONS = ("_generate_speech", "create_bidirectional_mask", "create_causal_mask")
"""The same of functions that transformers' module of SpeechT5 calls by name."""
_ADVICE = (
    "The compiled graphs have code of their own in its place, so the change would not be heard. Undo it before "
    "compiling, or move it where it is traced: a hook on the module, another module in one of its layers, or the "
    "weights (an adapter is merged by its library's merge_and_unload)"
)


Code = frozenset[tuple[type, str, Any]]


def check_code(model: SpeechT5ForTextToSpeech, before: Code | None = None) -> Code:
    """Raise ``UnsupportedModel`` that names what somebody changed in code that is replaced.

    Returns the code of the model's classes; with what an earlier call returned, no class may have changed since.
    """
    for fault in _changed_code(model):
        raise UnsupportedModel(fault)
    code = code_of(model)
    for kind, name, _ in sorted((before or code) ^ code, key=lambda entry: (entry[0].__qualname__, entry[1])):
        raise UnsupportedModel(
            f"{kind.__qualname__}.{name} was changed after the model was compiled, and a graph that was not made yet "
            "would be another model's: undo the change, or compile the model again"
        )
    return code


def check_numbers(model: SpeechT5ForTextToSpeech) -> None:
    """Raise ``UnsupportedModel`` that names weights which are no numbers, or what the configuration says otherwise."""
    # One thread adds as fast as memory is read; to wake others for each weight takes several times as long.
    with threads.at_most(1):
        for fault in _other_numbers(model):
            raise UnsupportedModel(fault)


def _changed_code(model: Any) -> Iterator[str]:
    for hooks, kind in (
        (torch_module._global_forward_pre_hooks, "register_module_forward_pre_hook"),
        (torch_module._global_forward_hooks, "register_module_forward_hook"),
    ):
        if hooks:
            yield f"torch has forward hooks for all modules ({kind}), which compiled graphs do not run: remove them"
    for replaced in REPLACED:
        for method in replaced.methods:
            changed = _change(model, replaced, method)
            if changed:
                yield f"{changed}. {_ADVICE}"
    for name in FUNCTIONS:
        found = foreign(getattr(speecht5, name), name)
        if found:
            yield f"{speecht5.__name__}.{name} is not transformers' own, but {found}. {_ADVICE}"


def _change(model: Any, replaced: Replaced, method: str) -> str | None:
    kind: Any = replaced.kind
    name = f"{kind.__name__}.{method}"
    if replaced.path is not None:
        where = replaced.path or "the model"
        try:
            module = attrgetter(replaced.path)(model) if replaced.path else model
        except AttributeError:
            return f"the model has no {replaced.path}, where a {kind.__name__} is expected"
        if not isinstance(module, kind):
            return f"{where} is a {type(module).__name__}, where a {kind.__name__} is expected"
        if method in vars(module):
            own = foreign(vars(module)[method]) or "another of transformers'"
            return f"{where} has a {method} of its own, {own}, in place of {name}"
        kind = type(module)
        name = f"{where}: {name}"
    owner = next(base for base in replaced.kind.__mro__ if method in vars(base))
    found = foreign(inspect.getattr_static(kind, method), f"{owner.__qualname__}.{method}")
    return None if found is None else f"{name} is not transformers' own, but {found}"


def _other_numbers(model: Any) -> Iterator[str]:
    """Where the model is not what its configuration says of it, and weights that are no numbers."""
    config, prenet, decoder = model.config, model.speecht5.decoder.prenet, model.speecht5.decoder.wrapped_decoder
    for what, found, key in (
        ("speecht5.decoder.prenet.layers", len([*prenet.layers]), "speech_decoder_prenet_layers"),
        ("speecht5.decoder.wrapped_decoder.layers", len([*decoder.layers]), "decoder_layers"),
    ):
        if found != getattr(config, key):
            yield f"{what} are {found}, and the configuration says {key}={getattr(config, key)}: make it say {found}"
    for key in ("speech_decoder_prenet_dropout",):
        if getattr(prenet.config, key) != getattr(config, key):
            yield (
                f"speecht5.decoder.prenet has a configuration of its own with {key}={getattr(prenet.config, key)}, the "
                f"model's says {getattr(config, key)}: make them say the same"
            )
    for name, tensor in model.named_parameters():
        if not bool(torch.isfinite(tensor.sum())) and not bool(tensor.isfinite().all()):
            yield f"the weight {name} holds numbers that are infinite or not a number: the speech would be none"


def settled(model: SpeechT5ForTextToSpeech) -> SpeechT5ForTextToSpeech:
    """The model, prepared in place: its linears that stand-ins take apart noted, infinite biases of the stop bounded.

    Somebody who wants speech that never stops by itself, or at once, sets such a bias. A step multiplies the logits
    with zeros, too; and no probability changes where the bias is as large as a float can be.
    """
    prenet, head = model.speecht5.decoder.prenet, model.speech_decoder_postnet
    settle([*prenet.layers, head.feat_out, head.prob_out])
    stop: Any = head.prob_out
    if is_own_linear(stop) and isinstance(stop.bias, nn.Parameter) and bool(stop.bias.abs().max() > DROPPED):
        stop.bias = nn.Parameter(stop.bias.clamp(-DROPPED, DROPPED), requires_grad=False)
    return model
