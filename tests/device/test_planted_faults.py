"""Faults planted in how plans are called on a device, each with what catches it: tests must be able to fail.

ttnn's mock devices accept nearly all of them, as it computes no numbers. What catches them is the stand-in, or the text
of the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest

from compiler.errors import DeviceError
from tests.conftest import GOLDEN
from tests.device.standin import models
from tests.device.test_calls import calls
from tests.faults import planted

CALL, MEMORY, PROGRAM = (f"compiler.dialects.ttnn.{name}" for name in ("call", "memory_configs", "program_configs"))
BINDER, EXECUTOR, REPLAY, TENSORS = (f"compiler.device.{name}" for name in ("binder", "executor", "replay", "tensors"))


@dataclass(frozen=True)
class Fault:
    """``before`` becomes ``after`` in ``module``, and ``check`` fails: by numbers, or by what the stand-in refuses."""

    module: str
    before: str
    after: str
    check: Callable[[], None]
    how: type[BaseException] = AssertionError


def text() -> None:
    """The calls of one board are those of the golden file."""
    assert calls("n150") == (GOLDEN / "calls_n150.txt").read_text().rstrip("\n")


speech = partial(models.speaks, "one row")
on_two = partial(models.speaks, "two rows", replicas=2)
joined = partial(models.case_computes, "cat of the last dimension")
graph = partial(partial, models.graph_computes)

FAULTS = {
    # What a call says.
    "the math fidelity of every linear is lowered": Fault(
        CALL,
        'given["compute_kernel_config"] = _hifi4(device)',
        "config = _hifi4(device)\n"
        '        lofi = ("math_fidelity", Named("ttnn.MathFidelity.LoFi"))\n'
        '        if node.op.name == "ttnn.linear":\n'
        "            config = replace(config, keywords=(lofi, *config.keywords[1:]))\n"
        '        given["compute_kernel_config"] = config',
        speech,
    ),
    "two passes over the mantissas less": Fault(
        CALL, "ttnn.MathFidelity.HiFi4", "ttnn.MathFidelity.HiFi2", graph("one row", "postnet")
    ),
    "sums are made in 16 bits": Fault(CALL, "fp32_dest_acc_en=True", "fp32_dest_acc_en=False", speech),
    "list operands are reversed": Fault(CALL, "(*before, place)", "(place, *before)", joined),
    "a linear has no bias": Fault(
        CALL,
        "        if name in node.op.semantics.lists:",
        '        if name == "bias":\n            continue\n        if name in node.op.semantics.lists:',
        speech,
    ),
    "a linear has no activation": Fault(
        PROGRAM, "return None if name is None else unary(str(name))", "return None", graph("one row", "encoder")
    ),
    "a convolution has no activation": Fault(
        CALL,
        'settings["activation"] = unary(read_fused(activation))',
        "pass",
        graph("one row", "postnet"),
    ),
    "the exponential is the approximate one": Fault(
        PROGRAM,
        'if name == "exp_approx_mode"}',
        'if name == "exp_approx_mode" and value}',
        graph("one row", "encoder"),
    ),
    "results go to DRAM, whatever is said": Fault(
        CALL,
        "memory_config(node.results[0].type.with_(memory=where.memory), device)",
        "memory_config(node.results[0].type.with_(memory=Memory.DRAM, shards=None), device)",
        graph("one row", "encoder"),
    ),
    "typecast goes to another type": Fault(
        CALL, 'given["dtype"] = DTYPES[where.dtype]', 'given["dtype"] = DTYPES[DType.UINT32]', speech, DeviceError
    ),
    "indices are sent in bfloat16": Fault(
        CALL, 'DType.UINT16: Named("torch.int32")', 'DType.UINT16: Named("torch.bfloat16")', speech, DeviceError
    ),
    "weights of a convolution are never in blocks": Fault(
        CALL,
        'weights_dtype=DTYPES[node["weight_tensor"].type.dtype]',
        "weights_dtype=DTYPES[DType.BFLOAT16]",
        text,  # numbers do not show it: blocks are there already
    ),
    "rows that devices split stay rows": Fault(
        CALL, "rows_as_heads=(0, 1, 2, 3)", "rows_as_heads=()", on_two, DeviceError
    ),
    "each device gets all rows": Fault(CALL, "if split else", "if False else", on_two, DeviceError),
    "a reader of DRAM sends blocks of one tile": Fault(PROGRAM, "in0_block_w=_block(rows)", "in0_block_w=1", text),
    "cores are taken column by column": Fault(MEMORY, "of, row_wise=True", "of, row_wise=False", text),
    "a core's columns are counted without its neighbours": Fault(
        PROGRAM,
        "columns = -(-result.padded_shape[-1] // (TILE * device.cores))",
        "columns = result.padded_shape[-1] // TILE",
        text,
    ),
    # What the binder and the executor do.
    "nothing is overwritten": Fault(
        EXECUTOR,
        "self.binder.ttnn.copy_host_to_device_tensor(tensors.to_host(tensor, type, self.binder), handle)",
        "pass",
        speech,
    ),
    "a cache grows at its front": Fault(EXECUTOR, "(0, missing)", "(missing, 0)", models.grows),
    "a cache that grows is padded with ones": Fault(EXECUTOR, "(0, 0)], 0.0)", "(0, 0)], 1.0)", models.grows),
    "inputs are read from the handles of the first step": Fault(
        EXECUTOR,
        "*(inputs[port.name] for port in graph.inputs)]",
        '*self.__dict__.setdefault("held", {}).setdefault(graph.name, [inputs[p.name] for p in graph.inputs])]',
        speech,
    ),
    "state is updated in a copy": Fault(
        BINDER,
        "made = function(**_named(call, operands), **given)",
        "copies = [self.ttnn.to_memory_config(t, t.memory_config()) for t in operands]\n"
        "            made = function(**_named(call, copies), **given)\n"
        '            made = made if "cache" not in call.path else [operands[0], operands[2]]',
        speech,
    ),
    "a tensor is freed before its last reader": Fault(
        EXECUTOR, "for place in step.frees:", "for place in (*step.frees, *step.reads[:1]):", speech, DeviceError
    ),
    "weights of one type are one weight": Fault(
        EXECUTOR, "(executable.owner, c.expression, c.value.type)", "(executable.owner, None, c.value.type)", speech
    ),
    "a convolution gets the weights of the layer before": Fault(
        BINDER,
        "prepared: dict[str, Any] = {}",
        'prepared = globals().setdefault("prepared", {})',
        graph("one row", "postnet"),
    ),
    "rows of devices are read in the wrong order": Fault(
        TENSORS,
        "    return read.to(torch.float32 if",
        "    read = torch.cat(read.chunk(binder.spec.replicas)[::-1])\n    return read.to(torch.float32 if",
        on_two,
    ),
    "the host computes the first device's rows for all": Fault(
        BINDER, "tensor.chunk(replicas) if is_split", "[tensor.chunk(replicas)[0]] * replicas if is_split", on_two
    ),
    "a replay returns the outputs of the first step": Fault(
        REPLAY,
        "            try:\n                self._outputs = self._run()",
        "            try:\n                self._run()",
        models.replays,
    ),
    "a replay begins each step with the first state": Fault(
        REPLAY, "self._binder.ttnn.copy(made[name], kept)", "pass", models.replays
    ),
    "the captured step is not run": Fault(
        REPLAY,
        "ttnn.execute_trace(device, self._trace, cq_id=0, blocking=False)  # what",
        "pass  # what",
        models.replays,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught(name: str) -> None:
    fault = FAULTS[name]
    with planted(fault.module, fault.before, fault.after), pytest.raises(fault.how):
        fault.check()


@pytest.mark.parametrize(
    ("module", "same"),
    [(CALL, '"""An attribute as ttnn\'s argument."""'), (BINDER, '"""Make a call live.'), (EXECUTOR, "(0, missing)")],
)
def test_it_is_the_fault_that_is_caught(module: str, same: str) -> None:
    """And not that code is taken from a module beside the real one."""
    with planted(module, same, same):
        speech()
        models.grows()


def said(check: Callable[[], None]) -> str:
    """A name for a check, the same in each process."""
    if isinstance(check, partial):
        given = [*map(str, check.args), *(f"{name}={value}" for name, value in check.keywords.items())]
        return f"{check.func.__name__}: {', '.join(given)}"
    return check.__name__


CHECKS = {said(fault.check): fault.check for fault in FAULTS.values()}


@pytest.mark.parametrize("check", CHECKS)
def test_without_a_fault_nothing_is_caught(check: str) -> None:
    CHECKS[check]()
