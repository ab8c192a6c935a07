"""How an op of the stand-in is called: on each device's part by itself, and in a trace again and again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

import torch

from compiler.dialects.ttnn.numerics import Ties
from tests.device.standin.arithmetic import held
from tests.device.standin.tensors import Tensor, dispatch
from tests.installed import installed


def result(
    like: Tensor,
    values: torch.Tensor,
    memory_config: Any = None,
    *,
    dtype: Any = None,
    layout: Any = None,
    ties: Ties = Ties.TO_EVEN,
    operands: Sequence[Tensor] = (),
) -> Tensor:
    """A new tensor, of the element type and layout of ``like`` unless others are given.

    Where no memory is said, it goes to DRAM if all operands are there, and to shards by height as an operand's.
    """
    real = installed()
    for what, kind in ((dtype, real.DataType), (layout, real.Layout)):
        if what is not None and not isinstance(what, kind):
            raise TypeError(f"incompatible function arguments: {what!r} is no {kind.__name__}")
    dtype, layout = like.dtype if dtype is None else dtype, like.layout if layout is None else layout
    where = _default(like, *operands) if memory_config is None else memory_config
    return Tensor([held(values, dtype, ties).clone().contiguous()], dtype, layout, where, like.held_on)


def _default(*operands: Tensor) -> Any:
    configs = [tensor.memory_config() for tensor in operands]
    if all(tensor.in_dram for tensor in operands):
        return installed().DRAM_MEMORY_CONFIG
    for tensor, config in zip(operands, configs, strict=True):
        if tensor.sharding == "HEIGHT_SHARDED":
            return config
    raise RuntimeError("an operand is in L1, and it is not said where the result goes: ttnn's ops do not agree on that")


def view(of: Tensor, data: torch.Tensor) -> Tensor:
    """The memory of a tensor under another shape."""
    assert data.untyped_storage().data_ptr() == of.data.untyped_storage().data_ptr(), "torch made a copy"
    return Tensor([data], of.dtype, of.layout, of.memory_config(), of.held_on)


def program(function: Callable[..., Any] | None = None, *, writes: tuple[str, ...] = ()) -> Any:
    """Make an op of a function of one device's tensors. ``writes`` are operands that it updates, and its results.

    What is not in the function's signature raises ``TypeError``. A result in the memory of an operand is a view, for
    which nothing is dispatched.
    """
    if function is None:
        return lambda function: program(function, writes=writes)
    signature = inspect.signature(function)
    kinds = {parameter.kind: name for name, parameter in signature.parameters.items()}
    others = kinds.get(inspect.Parameter.VAR_KEYWORD, "")

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        given |= given.pop(others, {})
        for name, parameter in signature.parameters.items():
            _check(name, str(parameter.annotation), given.get(name, parameter.default))
        operands = list(_tensors(given))
        device = operands[0].on_device
        if any(tensor.held_on is not device for tensor in operands):
            raise RuntimeError("TT_FATAL: an operand is not on the device")

        def run(at: int) -> tuple[Tensor, ...]:
            made = function(**{name: _part(value, at) for name, value in given.items()})
            return made if isinstance(made, tuple) else (made,)

        count = device.spec.replicas
        if writes:
            dispatch(device, lambda: [run(at) for at in range(count)] and None, function.__name__)
            return _result([_again(given[name]) for name in writes])
        parts = [run(at) for at in range(count)]
        split = next((tensor.split for tensor in operands if tensor.split is not None), None)
        made = [_joined(of_all, split) for of_all in zip(*parts, strict=True)]
        if not any(_shared(tensor, operand) for tensor in made for operand in operands):
            _dispatched(made, run, function.__name__)
        return _result(made)

    return call


def _dispatched(made: list[Tensor], run: Callable[[int], tuple[Tensor, ...]], name: str) -> None:
    device = made[0].on_device

    def again() -> None:
        for at in range(device.spec.replicas):
            for tensor, part in zip(made, run(at), strict=True):
                tensor.shards[at].copy_(part.data)

    if device.tape is None:
        dispatch(device, lambda: None, name)  # it has run
        return
    for tensor in made:  # what is captured has not run yet
        for shard in tensor.shards:
            shard.fill_(float("nan") if shard.is_floating_point() else 0)
    dispatch(device, again, name)


def _check(name: str, wanted: str, value: Any) -> None:
    """Refuse what is no tensor where one is wanted."""
    items = value if wanted == "list[Tensor]" and isinstance(value, list) else [value]
    if wanted in ("Tensor", "list[Tensor]") and not all(isinstance(item, Tensor) for item in items):
        raise TypeError(f"incompatible function arguments: {name}={value!r} is no tensor")


def _tensors(given: dict[str, Any]) -> Iterator[Tensor]:
    for value in given.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Tensor):
                yield item


def _part(value: Any, at: int) -> Any:
    if isinstance(value, list):
        return [_part(item, at) for item in value]
    return value.at(at) if isinstance(value, Tensor) else value


def _result(made: list[Tensor]) -> Any:
    return made if len(made) > 1 else made[0]


def _joined(parts: Sequence[Tensor], split: int | None) -> Tensor:
    first = parts[0]
    shards = [part.data for part in parts]
    return Tensor(shards, first.dtype, first.layout, first.memory_config(), first.held_on, split)


def _again(tensor: Tensor) -> Tensor:
    config = tensor.memory_config()
    return Tensor(tensor.shards, tensor.dtype, tensor.layout, config, tensor.held_on, tensor.split)


def _shared(made: Tensor, operand: Tensor) -> bool:
    return made.shards[0].untyped_storage().data_ptr() == operand.shards[0].untyped_storage().data_ptr()


def of_kind(value: Any, *names: str) -> None:
    """Refuse what is no object of one of these classes of ttnn."""
    if value is not None and not isinstance(value, tuple(getattr(installed(), name) for name in names)):
        raise TypeError(f"incompatible function arguments: {value!r} is no {' or '.join(names)}")
