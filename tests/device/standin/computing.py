"""Attention, norms, sums, and what is computed element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from compiler.dialects.ttnn.attention import in_stages
from compiler.dialects.ttnn.decode_attention import decode_attention
from compiler.dialects.ttnn.numerics import Ties
from tests.device.standin.arithmetic import BFLOAT16, Compute, activation
from tests.device.standin.programs import of_kind, program, result
from tests.device.standin.tensors import Tensor
from tests.installed import installed

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
    of_kind(program_config, "SDPAProgramConfig")
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
    of_kind(program_config, "SDPAProgramConfig")
    if not is_causal or cur_pos_tensor is None or cur_pos_tensor.dtype != installed().int32:
        raise RuntimeError("TT_FATAL: positions of int32 say which keys are seen")
    compute = Compute.of(compute_kernel_config)
    queries, keys = compute.seen(input_tensor_q.data, input_tensor_k.data)
    _, values = compute.seen(input_tensor_q.data, input_tensor_v.data)
    by = queries.shape[-1] ** -0.5 if scale is None else scale
    made = decode_attention.semantics.reference(BFLOAT16, queries, keys, values, cur_pos_tensor.data, True, by)
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
    of_kind(program_config, "LayerNormShardedMultiCoreProgramConfig")
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
    made = compute.product(values, torch.ones(()), lambda a, _, __: a.sum(dim, keepdim))
    return result(input_tensor, made, memory_config)


# --- element by element -----------------------------------------------------------------------------------------------

Function = Callable[..., torch.Tensor]


def binary(function: Function, ties: Ties = Ties.TO_EVEN, second: str = "input_tensor_b") -> Any:
    """A function of two tensors, or of one and a number called ``second``."""

    @program
    def op(
        input_tensor_a: Tensor,
        *,
        memory_config: Any = None,
        activations: list[Any] | None = None,
        input_tensor_b_activations: list[Any] | None = None,
        **other: Any,
    ) -> Tensor:
        (name,) = other
        if name not in ("input_tensor_b", second) or isinstance(other[name], str):
            raise TypeError(f"incompatible function arguments: {other}")
        b = other[name]
        second_operand = b.data if isinstance(b, Tensor) else b
        for each in input_tensor_b_activations or ():
            second_operand = activation(each)(second_operand)
        made = function(input_tensor_a.data, second_operand)
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
