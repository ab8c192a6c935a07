"""Checkpoints that were saved under weight norm, with a gain and a direction in the place of a weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

GAIN, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
"""What is in the place of ``weight``. transformers calls by these names what torch's older form has saved, too
(``weight_g`` and ``weight_v``)."""


def normed(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers that a checkpoint has a gain and a direction of, and no weight.

    ``info`` is what transformers says of a load: the parameters that were missing, and those that it had no place for.
    """
    over = set(info["unexpected_keys"])
    layers = (name.removesuffix(".weight") for name in info["missing_keys"] if name.endswith(".weight"))
    return tuple(sorted(layer for layer in layers if {f"{layer}.{GAIN}", f"{layer}.{DIRECTION}"} <= over))


def under_norm(kind: Any, layers: Iterable[str]) -> Any:
    """The class ``kind`` with weight norm over the rows of these layers' weights, as transformers applies it."""
    from torch.nn.utils.parametrizations import weight_norm  # noqa: PLC0415, torch takes seconds

    def build(self: Any, config: Any) -> None:
        kind.__init__(self, config)
        for layer in layers:
            weight_norm(self.get_submodule(layer))

    # transformers looks at the name, as it does for kind.
    return type(kind.__name__, (kind,), {"__init__": build, "__module__": kind.__module__})


def without_norm(model: Any, kind: Any, layers: Iterable[str]) -> Any:
    """``model`` as a plain ``kind``, with weights again that gains and directions make."""
    from torch.nn.utils.parametrize import remove_parametrizations  # noqa: PLC0415

    for layer in layers:
        remove_parametrizations(model.get_submodule(layer), "weight")
    model.__class__ = kind
    return model
