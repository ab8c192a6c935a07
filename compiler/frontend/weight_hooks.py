"""Rewrite weights that torch's older hooks compute before each call into forms that can be traced."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import parametrizations, prune, remove_spectral_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def removed(model: nn.Module) -> None:
    """Remove the hooks that compute a weight and store it in the module, since a traced call must not store anything.

    Weight norm becomes ``torch.nn.utils.parametrizations.weight_norm``, so that the weight stays an expression over its
    gain and direction. A weight under a mask of ``torch.nn.utils.prune``, or under ``torch.nn.utils.spectral_norm``, is
    computed now, as torch's own hook would in evaluation mode, and becomes a parameter.
    """
    for module in model.modules():
        for key, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, WeightNorm):
                del module._forward_pre_hooks[key]
                _as_parametrization(module, hook)
            elif isinstance(hook, SpectralNorm):
                remove_spectral_norm(module, hook.name)
            elif isinstance(hook, prune.BasePruningMethod):
                del module._forward_pre_hooks[key]
                _as_parameter(module, hook)


def _as_parametrization(module: nn.Module, hook: WeightNorm) -> None:
    """Turn a hook into a parametrization; gain and direction stay the same tensors and get the newer names."""
    gain, direction = (module._parameters.pop(f"{hook.name}_{part}") for part in "gv")
    assert gain is not None and direction is not None
    module.__dict__.pop(hook.name, None)
    module.register_parameter(hook.name, direction)
    parametrizations.weight_norm(module, hook.name, hook.dim)
    kept: Any = module.get_submodule(f"parametrizations.{hook.name}")
    kept.original0, kept.original1 = gain, direction


def _as_parameter(module: nn.Module, hook: Any) -> None:
    """Do as ``prune.remove`` does, but copy: another module may have the same weight under another mask."""
    name = hook._tensor_name
    masked = hook.apply_mask(module).detach()
    module.__dict__.pop(name, None)
    del module._parameters[f"{name}_orig"], module._buffers[f"{name}_mask"]
    module.register_parameter(name, nn.Parameter(masked, requires_grad=False))
