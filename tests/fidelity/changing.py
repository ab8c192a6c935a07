"""Changes that somebody makes to a model: to one module, by hooks, by methods and by modules around it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tests.fidelity.test_generate_speech import small
from tests.models import lively, speaker, tokens

CONFIG = small(encoder_layers=1, decoder_layers=1, speech_decoder_postnet_layers=2)
MODEL = lively(CONFIG, feedback=0.5)
PATHS = [path for path, _ in MODEL.named_modules()]
IDS, VOICE = tokens(CONFIG, 10), speaker(CONFIG)
STEPS = {"minlenratio": 0.8, "maxlenratio": 0.8}
STOP = "speech_decoder_postnet.prob_out"


def say(model: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    return model.generate_speech(IDS, VOICE, **(options or STEPS))


def other(x: Tensor) -> Tensor:
    """What each change does: to be heard, past a norm as well, and little enough for sixty of them at once."""
    return 0.97 * x + 0.06 * x.relu()


def changed(made: Any) -> Any:
    """An output, or the first of several, made another."""
    if isinstance(made, Tensor):
        return other(made)
    if isinstance(made, tuple):
        return (other(made[0]), *made[1:])
    made = copy.copy(made)
    made["last_hidden_state"] = other(made["last_hidden_state"])
    return made


def hook(model: nn.Module, path: str) -> None:
    model.get_submodule(path).register_forward_hook(lambda _, __, made: changed(made))


def pre_hook(model: nn.Module, path: str) -> None:
    """On the first input that is a float, by position or by name; not on a mask, a float only where compiled."""

    def change(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        floats = [n for n, x in named.items() if isinstance(x, Tensor) and x.is_floating_point() and "mask" not in n]
        if args and args[0].is_floating_point():
            return (other(args[0]), *args[1:]), named
        return args, named | {name: other(named[name]) for name in floats[:1]}

    model.get_submodule(path).register_forward_pre_hook(change, with_kwargs=True)


def replaced_forward(model: nn.Module, path: str) -> None:
    """By a function that holds on to the module that it was made for, of which a copy of the model knows nothing."""
    module = model.get_submodule(path)
    before = module.forward
    module.forward = lambda *args, **named: changed(before(*args, **named))


class Around(nn.Module):
    """What an adapter does: stands where the module stood, and shows what the module has."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.base)

    def __len__(self) -> int:
        return len(self.base)

    def forward(self, *args: Any, **named: Any) -> Any:
        return changed(self.base(*args, **named))


def wrapped(model: nn.Module, path: str) -> None:
    parent, _, name = path.rpartition(".")
    if path:
        setattr(model.get_submodule(parent), name, Around(model.get_submodule(path)))


@contextmanager
def patched(owner: Any, name: str, by: Callable[[Any], Any] = changed) -> Iterator[None]:
    """A function of a class or module replaced for all, by one that looks as much like it as Python lets it."""
    own, before = name in vars(owner), getattr(owner, name)

    @functools.wraps(before)
    def change(*args: Any, **named: Any) -> Any:
        return by(before(*args, **named))

    setattr(owner, name, change)
    try:
        yield
    finally:
        setattr(owner, name, before) if own else delattr(owner, name)
