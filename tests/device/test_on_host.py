"""What the host computes for a device: each device's rows by themselves, where a mesh splits them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from compiler.device.binder import Binder
from compiler.dialects.ttnn.elementwise import add, multiply
from compiler.dialects.ttnn.inference import infer_types
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.shape import reshape
from compiler.ir.graph import Node, Value
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.runtime.executable import computed
from compiler.target.boards import BOARDS


def node(op: TtnnOp, operands: dict[str, tuple[int, ...]], **attributes: tuple[int, ...]) -> Node:
    """A node whose operands, whole numbers by name and shape, lie on the host."""
    values = [Value(TensorType(s, DType.UINT16, Layout.TILE, Memory.HOST)) for s in operands.values()]
    given = tuple(attributes.items())
    types = infer_types(op, tuple(operands), tuple(v.type for v in values), given)
    return Node(op, tuple(values), tuple(operands), given, tuple(map(Value, types)))


@pytest.mark.parametrize("replicas", [1, 2])
def test_rows_that_devices_split_meet_what_all_of_them_have(replicas: int) -> None:
    """An index for two rows and three heads, and a mask with two rows a device."""
    binder = Binder(None, None, replace(BOARDS["n300"].device, replicas=replicas))
    index = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    keep = (torch.arange(5) < torch.arange(1, 1 + 2 * replicas)[:, None]).long()[:, None, None, :]
    product = node(multiply, {"input_tensor_a": (2, 3, 4, 5), "input_tensor_b": (2, 1, 1, 5)})
    flat = node(reshape, {"input_tensor": (2, 3, 4, 5)}, shape=(6, 4, 5))
    (masked,) = binder.prepare(product)([index, keep])
    (made,) = binder.prepare(flat)([masked])
    shares = [(index * keep[2 * i : 2 * i + 2]).reshape(6, 4, 5) for i in range(replicas)]
    assert torch.equal(made, torch.cat(shares))


@pytest.mark.parametrize(("memory", "units"), [(Memory.HOST, 0), (Memory.DRAM, 1)], ids=["host", "device"])
def test_a_sum_on_the_host_is_rounded_as_torch_rounds_it(memory: Memory, units: int) -> None:
    """A tie between two bfloat16: to even in torch, away from zero on a device."""
    a, b, out = (Value(TensorType((1, 1), DType.BFLOAT16, Layout.TILE, memory)) for _ in range(3))
    total = Node(add, (a, b), ("input_tensor_a", "input_tensor_b"), (), (out,))
    (made,) = computed(total, DType.BFLOAT16)([torch.tensor([[1.0]]), torch.tensor([[2.0**-8]])])
    assert made.item() == 1 + units * 2.0**-7
