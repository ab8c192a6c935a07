"""Ops that compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from compiler.dialects.ttnn.attention import in_stages
from compiler.dialects.ttnn.decode_attention import decode_attention
from compiler.dialects.ttnn.linear import linear as linear_op
from compiler.dialects.ttnn.linear import matmul as matmul_op
from compiler.dialects.ttnn.op import Ties
from compiler.ir.types import TILE
from tests.device.standin.arithmetic import ACTIVATIONS, BFLOAT16, FLOAT32, Compute, activation, held
from tests.device.standin.programs import program, result
from tests.device.standin.tensors import Tensor
from tests.installed import installed


def _kind(value: Any, *names: str) -> None:
    """Refuse what is no object of one of these classes of ttnn."""
    if value is not None and not isinstance(value, tuple(getattr(installed(), name) for name in names)):
        raise TypeError(f"incompatible function arguments: {value!r} is no {' or '.join(names)}")


# --- products ---------------------------------------------------------------------------------------------------------

_BY_BANK = "MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig"
_MULTICAST = "MatmulMultiCoreReuseMultiCast1DProgramConfig"


@program
def linear(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    bias: Tensor | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    memory_config: Any = None,
    dtype: Any = None,
    program_config: Any = None,
    activation: str | None = None,
    compute_kernel_config: Any = None,
    core_grid: Any = None,
) -> Tensor:
    _kind(core_grid, "CoreGrid")
    a = input_tensor_a.data.mT if transpose_a else input_tensor_a.data
    b = input_tensor_b.data.mT if transpose_b else input_tensor_b.data
    operands = [input_tensor_b, *([] if bias is None else [bias])]
    compute, after = Compute.of(compute_kernel_config), _fused(program_config, activation, core_grid)
    addend = None if bias is None else bias.data
    if compute.float32:
        made = compute.product(a, b, lambda a, b: linear_op.reference(FLOAT32, a, b, addend))
    else:
        made = compute.product(a, b, lambda a, b: linear_op.reference(FLOAT32, a, b))
        made = made if addend is None else made + addend
    where = result(input_tensor_a, after(made), memory_config, dtype=dtype, operands=operands)
    _deals_out(program_config, input_tensor_a, input_tensor_b, where)
    return where


def _fused(program_config: Any, name: str | None, core_grid: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    if program_config is None:
        return ACTIVATIONS[name.upper()] if name is not None else lambda tensor: tensor
    _kind(program_config, _BY_BANK, _MULTICAST)
    if name is not None or core_grid is not None:
        raise RuntimeError("TT_FATAL: a program configuration says which cores compute, and what after")
    return activation(program_config.fused_activation)


def _deals_out(config: Any, rows: Tensor, matrix: Tensor, made: Tensor) -> None:
    """Refuse a program configuration that leaves a part of the result out."""
    by_bank = type(config).__name__ == _BY_BANK
    if (matrix.sharding == "WIDTH_SHARDED") != by_bank:
        raise RuntimeError("TT_FATAL: weights over the banks of DRAM, or a configuration for them, alone")
    if config is None:
        if "WIDTH_SHARDED" in (rows.sharding, made.sharding):
            raise RuntimeError("TT_FATAL: shards by width without a program configuration")
        return
    inner, columns = (tensor.padded_shape[-1] // TILE for tensor in (rows, made))
    grid = None if by_bank else config.compute_with_storage_grid_size
    cores = made.memory_config().shard_spec.grid.num_cores() if grid is None else grid.x * grid.y
    if inner % config.in0_block_w or config.per_core_N * cores < columns:
        raise RuntimeError(f"TT_FATAL: {inner} by {columns} tiles by {config}")


@program
def matmul(
    input_tensor_a: Tensor,
    input_tensor_b: Tensor,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    memory_config: Any = None,
    dtype: Any = None,
    program_config: Any = None,
    compute_kernel_config: Any = None,
) -> Tensor:
    _kind(program_config, _MULTICAST)
    a = input_tensor_a.data.mT if transpose_a else input_tensor_a.data
    b = input_tensor_b.data.mT if transpose_b else input_tensor_b.data
    made = Compute.of(compute_kernel_config).product(a, b, lambda a, b: matmul_op.reference(FLOAT32, a, b))
    return result(input_tensor_a, made, memory_config, dtype=dtype, operands=[input_tensor_b])


@program
def _convolved(
    input_tensor: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    sizes: tuple[int, int, int],
    how: tuple[int, int, int, int],
    fused: Any,
    compute_config: Any,
    memory_config: Any,
) -> Tensor:
    rows = input_tensor.data.reshape(sizes).mT
    compute = Compute.of(compute_config)
    addend = None if bias is None else bias.data.reshape(-1)
    if compute.float32:
        made = compute.product(rows, weight.data, lambda x, w: functional.conv1d(x, w, addend, *how))
    else:
        made = compute.product(rows, weight.data, lambda x, w: functional.conv1d(x, w, None, *how))
        made = made if addend is None else made + addend[:, None]
    made = activation(fused)(made).mT.reshape(1, 1, -1, weight.shape[0])
    return result(input_tensor, made, memory_config, layout=installed().TILE_LAYOUT)


def conv1d(
    *,
    input_tensor: Tensor,
    weight_tensor: Tensor,
    device: Any,
    in_channels: int,
    out_channels: int,
    batch_size: int,
    input_length: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    bias_tensor: Tensor | None = None,
    conv_config: Any = None,
    compute_config: Any = None,
    memory_config: Any = None,
    return_weights_and_bias: bool = False,
) -> Any:
    """Weights come from the host, or as an earlier call returned them: prepared."""
    _kind(conv_config, "Conv1dConfig")
    if conv_config is None or device is not input_tensor.device:
        raise TypeError("conv1d(): incompatible function arguments: conv_config or device")
    weight = _prepared(weight_tensor, conv_config.weights_dtype, device, along=0)
    bias = None if bias_tensor is None else _prepared(bias_tensor, conv_config.weights_dtype, device, along=-1)
    if weight.shape != (out_channels, in_channels // groups, kernel_size):
        raise RuntimeError(f"TT_FATAL: a weight {weight.shape}")
    sizes = batch_size, input_length, in_channels
    how = stride, padding, dilation, groups
    fused = conv_config.activation
    made = _convolved(input_tensor, weight, bias, sizes, how, fused, compute_config, memory_config)
    return (made, [weight, bias]) if return_weights_and_bias else made


def _prepared(tensor: Tensor, dtype: Any, device: Any, along: int) -> Tensor:
    """The device multiplies by rows of output channels, along which blocks lie."""
    if tensor.device is not None:
        if not tensor.prepared or tensor.dtype != dtype:
            raise RuntimeError("TT_FATAL: a weight on the device that no call prepared")
        return tensor
    device.host_is_to_wait("a weight is prepared")
    values = held(tensor.data.movedim(along, -1), dtype).movedim(-1, along).contiguous()
    real = installed()
    shards = [values] * device.spec.replicas
    made = Tensor(shards, dtype, real.TILE_LAYOUT, real.DRAM_MEMORY_CONFIG, device)
    made.prepared = True
    return made


# --- attention --------------------------------------------------------------------------------------------------------


@program
def scaled_dot_product_attention(
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = True,
    scale: float | None = None,
    memory_config: Any = None,
    program_config: Any = None,
    compute_kernel_config: Any = None,
    output_concat_heads: bool = False,
) -> Tensor:
    _kind(program_config, "SDPAProgramConfig")
    compute = Compute.of(compute_kernel_config)
    queries, keys = compute.seen(input_tensor_q.data, input_tensor_k.data)
    _, values = compute.seen(input_tensor_q.data, input_tensor_v.data)
    mask = None if attn_mask is None else attn_mask.data
    if attn_mask is not None and not attn_mask.in_dram:
        raise RuntimeError("TT_FATAL: the mask is not in DRAM")
    if is_causal:
        if mask is not None:
            raise RuntimeError("TT_FATAL: causal, and a mask")
        mask = torch.full((queries.shape[-2], keys.shape[-2]), -torch.inf).triu(1)
    # Without a configuration, or with one that does not forbid it, and always with a 16-bit destination.
    told = None if program_config is None else program_config.exp_approx_mode
    approximate = told is not False or not compute.float32
    exponential = Compute("", True, approximate).exponential
    by = queries.shape[-1] ** -0.5 if scale is None else scale
    made = in_stages(BFLOAT16, queries, keys, values, mask, by, exponential)
    made = made.transpose(1, 2).flatten(2).unsqueeze(1) if output_concat_heads else made
    others = [input_tensor_k, input_tensor_v, *([] if attn_mask is None else [attn_mask])]
    return result(input_tensor_q, made, memory_config, operands=others)


@program
def scaled_dot_product_attention_decode(
    input_tensor_q: Tensor,
    input_tensor_k: Tensor,
    input_tensor_v: Tensor,
    *,
    is_causal: bool = True,
    cur_pos_tensor: Tensor | None = None,
    scale: float | None = None,
    memory_config: Any = None,
    program_config: Any = None,
    compute_kernel_config: Any = None,
) -> Tensor:
    """Half tiles of queries, for which the exponential is always the approximate one."""
    _kind(program_config, "SDPAProgramConfig")
    if not is_causal or cur_pos_tensor is None or cur_pos_tensor.dtype != installed().int32:
        raise RuntimeError("TT_FATAL: positions of int32 say which keys are seen")
    compute = Compute.of(compute_kernel_config)
    queries, keys = compute.seen(input_tensor_q.data, input_tensor_k.data)
    _, values = compute.seen(input_tensor_q.data, input_tensor_v.data)
    by = queries.shape[-1] ** -0.5 if scale is None else scale
    made = decode_attention.reference(BFLOAT16, queries, keys, values, cur_pos_tensor.data, True, by)
    return result(input_tensor_q, made, memory_config, operands=[input_tensor_k, input_tensor_v])


# --- norms and sums ---------------------------------------------------------------------------------------------------


@program
def layer_norm(
    input_tensor: Tensor,
    *,
    epsilon: float = 1e-12,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual_input_tensor: Tensor | None = None,
    memory_config: Any = None,
    program_config: Any = None,
    compute_kernel_config: Any = None,
) -> Tensor:
    _kind(program_config, "LayerNormShardedMultiCoreProgramConfig")
    if (program_config is not None) != (input_tensor.sharding == "WIDTH_SHARDED"):
        raise RuntimeError("TT_FATAL: shards by width have a program configuration of their own")
    compute = Compute.of(compute_kernel_config)
    extra = residual_input_tensor
    total = input_tensor.data if extra is None else input_tensor.data + extra.data
    total = total if compute.float32 else BFLOAT16.round(total)
    gain, shift = (None if tensor is None else tensor.data.reshape(-1) for tensor in (weight, bias))
    made = functional.layer_norm(total, total.shape[-1:], gain, shift, epsilon)
    return result(input_tensor, made, memory_config, operands=[] if extra is None else [extra])


@program
def batch_norm(
    input: Tensor,
    *,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    memory_config: Any = None,
    compute_kernel_config: Any = None,
) -> Tensor:
    Compute.of(compute_kernel_config)
    made = (input.data - running_mean.data) * torch.rsqrt(running_var.data + eps)
    made = made if weight is None else made * weight.data
    return result(input, made if bias is None else made + bias.data, memory_config)


@program
def softmax(
    input_tensor: Tensor,
    dim: int,
    *,
    memory_config: Any = None,
    compute_kernel_config: Any = None,
    numeric_stable: bool = False,
) -> Tensor:
    compute, values = Compute.of(compute_kernel_config), input_tensor.data
    if numeric_stable and compute.float32 and not compute.approximate:
        made = values.softmax(dim)
    else:
        above = values.amax(dim, keepdim=True) if numeric_stable else torch.zeros(())
        made = compute.exponential(values - above)
        made = made if compute.float32 else BFLOAT16.round(made)
        made = made / made.sum(dim, keepdim=True)
    return result(input_tensor, made, memory_config)


@program
def sum_(
    input_tensor: Tensor,
    dim: int,
    keepdim: bool = False,
    *,
    memory_config: Any = None,
    compute_kernel_config: Any = None,
) -> Tensor:
    compute, values = Compute.of(compute_kernel_config), input_tensor.data
    made = compute.product(values, torch.ones(()), lambda a, _: a.sum(dim, keepdim))
    return result(input_tensor, made, memory_config)


# --- element by element -----------------------------------------------------------------------------------------------

Function = Callable[..., torch.Tensor]


def binary(function: Function, ties: Ties = Ties.TO_EVEN, second: str = "input_tensor_b") -> Any:
    """A function of two tensors, or of one and a number called ``second``."""

    @program
    def op(
        input_tensor_a: Tensor, *, memory_config: Any = None, activations: list[Any] | None = None, **other: Any
    ) -> Tensor:
        (name,) = other
        if name not in ("input_tensor_b", second) or isinstance(other[name], str):
            raise TypeError(f"incompatible function arguments: {other}")
        b = other[name]
        made = function(input_tensor_a.data, b.data if isinstance(b, Tensor) else b)
        for each in activations or ():
            made = activation(each)(made)
        operands = [b] if isinstance(b, Tensor) else []
        return result(input_tensor_a, made, memory_config, ties=ties, operands=operands)

    return op


def unary(function: Function, *numbers: str) -> Any:
    """A function of a tensor, and of numbers by these names."""

    @program
    def op(input_tensor: Tensor, *, memory_config: Any = None, **given: float) -> Tensor:
        if set(given) - set(numbers):
            raise TypeError(f"incompatible function arguments: {given}")
        return result(input_tensor, function(input_tensor.data, **given), memory_config)

    return op


ELEMENTWISE = {
    "add": binary(torch.add, Ties.AWAY),
    "subtract": binary(torch.sub, Ties.AWAY),
    "rsub": binary(lambda a, b: b - a, Ties.AWAY, "input_b"),
    "multiply": binary(torch.mul),
    "divide": binary(torch.div, second="value"),
    "maximum": binary(lambda a, b: a.clamp(min=b), second="input_b"),
    "relu": unary(torch.relu),
    "gelu": unary(functional.gelu),
    "silu": unary(functional.silu),
    "tanh": unary(torch.tanh),
    "sigmoid": unary(torch.sigmoid),
    "sqrt": unary(torch.sqrt),
    "erf": unary(torch.erf),
    "hardswish": unary(functional.hardswish),
    "mish": unary(functional.mish),
    "leaky_relu": unary(functional.leaky_relu, "negative_slope"),
    "softplus": unary(functional.softplus, "beta", "threshold"),
    "clamp": unary(torch.clamp, "min", "max"),
}
