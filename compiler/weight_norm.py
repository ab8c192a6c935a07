"""Weight norm as torch's older hook keeps it, in the form that a trace can see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm


def computed(model: nn.Module) -> Iterator[Tensor]:
    """The weights that ``torch.nn.utils.weight_norm`` left in modules. They are results, and torch copies none."""
    for module, hook in _hooks(model):
        yield module.__dict__[hook.name]


def as_parametrizations(model: nn.Module) -> None:
    """Turn the older weight norm of a model's modules into ``torch.nn.utils.parametrizations.weight_norm``.

    The older one computes a weight in a hook and keeps it in the module, which a traced function must not do. The
    gains and directions stay the tensors that they were; as parameters they get the newer form's names.
    """
    for module, hook in list(_hooks(model)):
        gain, direction = (module._parameters.pop(f"{hook.name}_{part}") for part in "gv")
        assert gain is not None and direction is not None
        key = next(key for key, known in module._forward_pre_hooks.items() if known is hook)
        del module._forward_pre_hooks[key], module.__dict__[hook.name]
        module.register_parameter(hook.name, direction)
        parametrizations.weight_norm(module, hook.name, hook.dim)
        kept: Any = module.get_submodule(f"parametrizations.{hook.name}")
        kept.original0, kept.original1 = gain, direction


def _hooks(model: nn.Module) -> Iterator[tuple[nn.Module, WeightNorm]]:
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                yield module, hook
