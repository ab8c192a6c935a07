"""The device executor over ttnn's stand-in: placing, calls, views, state, overwriting, reading back, replays, replicas.

Everything is compared bit for bit with the reference executor, as the stand-in sums what that sums. This checks our own
code in ``compiler.device`` and ``compiler.dialects.ttnn.call``; of real kernels it says nothing.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from compiler.device.binder import Binder
from compiler.device.reasons import Refused
from compiler.dialects.ttnn import call
from compiler.errors import DeviceError
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.target.boards import BOARDS
from tests.device.standin import computing, models, moving, products
from tests.device.standin.module import executor_on, stand_in
from tests.device.standin.tensors import Tensor
from tests.installed import installed
from tests.lowering.outcomes import BY_NAME


@pytest.mark.parametrize("graph", models.GRAPHS)
@pytest.mark.parametrize("plan", models.PLANS)
def test_a_graph_computes_what_the_reference_does(plan: str, graph: str) -> None:
    models.graph_computes(plan, graph)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_case_of_the_lowering_computes_what_the_reference_does(name: str) -> None:
    models.case_computes(name)


@pytest.mark.parametrize(
    ("plan", "settings"),
    [
        ("one row", {"steps": 4}),
        ("one row", {"steps": 5, "traced": True}),
        ("one row, mixed weights, all optional passes", {"steps": 66, "read_every": 8, "traced": True}),
        ("two rows", {"steps": 66, "read_every": 8}),
        ("two rows", {"steps": 4, "replicas": 2}),
        ("two rows, weights in blocks, all optional passes", {"steps": 4, "replicas": 2, "traced": True}),
        ("two rows, weights in blocks, all optional passes", {"steps": 10, "read_every": 3}),
    ],
    ids=str,
)
def test_speech_is_the_references(plan: str, settings: dict[str, Any]) -> None:
    """Into the next bucket of steps, read by eight, as traces, and with rows split over two devices."""
    models.speaks(plan, **settings)


@pytest.mark.parametrize("plan", ["one row", "one row, mixed weights, all optional passes"])
def test_replayed_steps_give_what_the_references_do(plan: str) -> None:
    models.replays(plan)


def test_a_cache_grows() -> None:
    models.grows()


# --- that the stand-in is strict, and that arguments matter -----------------------------------------------------------


def placed(*shape: int, executor: Any = None) -> Tensor:
    random = torch.Generator().manual_seed(0)
    type = TensorType(shape, DType.BFLOAT16, Layout.TILE, Memory.DRAM)
    tensor: Tensor = (executor or executor_on("n150")).load(torch.randn(shape, generator=random), type)
    return tensor


@pytest.mark.parametrize(
    "wrong",
    [
        {"gone": 1},
        {"memory_config": "l1"},
        {"dtype": "bfloat16"},
        {"compute_kernel_config": "hifi4"},
        {"program_config": "default"},
        {"core_grid": (8, 8)},
    ],
    ids=str,
)
def test_an_argument_of_another_kind_is_refused(wrong: dict[str, Any]) -> None:
    x = placed(32, 32)
    with pytest.raises(TypeError):
        products.linear(x, x, **wrong)


def test_what_it_does_not_have_is_missing() -> None:
    with pytest.raises(AttributeError):
        _ = stand_in().gone


def config(**changes: Any) -> Any:
    real = installed()
    given = {"math_fidelity": real.MathFidelity.HiFi4, "math_approx_mode": False, "fp32_dest_acc_en": True} | changes
    return real.init_device_compute_kernel_config(real.device.Arch.WORMHOLE_B0, **given)


@pytest.mark.parametrize(
    "changes", [{"math_fidelity": name} for name in ("LoFi", "HiFi2", "HiFi3")] + [{"fp32_dest_acc_en": False}], ids=str
)
def test_a_coarser_configuration_gives_other_numbers(changes: dict[str, Any]) -> None:
    executor = executor_on("n150")
    x, bias = placed(64, 64, executor=executor), placed(1, 64, executor=executor)
    if "math_fidelity" in changes:
        changes = {"math_fidelity": getattr(installed().MathFidelity, changes["math_fidelity"])}
    as_planned, coarse, unsaid = (
        products.linear(x, x, bias=bias, compute_kernel_config=given).data
        for given in (config(), config(**changes), None)
    )
    assert 0 < (coarse - as_planned).abs().max() < (unsaid - as_planned).abs().max() * 1.01
    assert (unsaid - as_planned).abs().max() < 0.1 * as_planned.abs().max()


def test_views_share_memory_and_copies_do_not() -> None:
    x = placed(1, 24, 32, 32)
    views = moving.narrow(x, 1, 12, 12), moving.reshape(x, [24, 32, 32]), moving.reshape(x, [1, 1, 768, 32])
    assert [view.shards[0].untyped_storage().data_ptr() == x.buffer_address() for view in views] == [True] * 3
    assert moving.permute(x, [0, 1, 3, 2]).buffer_address() != x.buffer_address()
    with pytest.raises(RuntimeError, match="a view"):
        moving.narrow(x, 1, 6, 6)


def test_what_is_captured_has_not_run_and_the_host_waits() -> None:
    ttnn, one = stand_in(), placed(32, 32)
    device = one.on_device
    trace = ttnn.begin_trace_capture(device, cq_id=0)
    made = computing.ELEMENTWISE["add"](one, input_tensor_b=one)
    with pytest.raises(RuntimeError, match="while a trace is captured"):
        ttnn.to_torch(made)
    ttnn.end_trace_capture(device, trace, cq_id=0)
    assert bool(made.data.isnan().all())
    ttnn.execute_trace(device, trace, cq_id=0, blocking=False)
    assert torch.equal(made.data, 2 * one.data)


def test_a_refusal_names_graph_node_and_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device: with ttnn's own word, and where the op came from."""
    monkeypatch.setattr(call, "_hifi4", lambda device: call.Named("ttnn.bfloat16"))
    with pytest.raises(Refused, match=r"ttnn refused ttnn\..* in graph encoder, from speecht5"):
        models.speaks("one row")


def test_a_module_without_an_op_is_another_version() -> None:
    bare = Binder(SimpleNamespace(linear=lambda **_: None), None, BOARDS["n150"].device)
    missing = call.TtnnCall("ttnn.linear", (), (("dtype", call.Named("ttnn.bfloat16")),))
    with pytest.raises(DeviceError, match=r"the installed ttnn has no bfloat16: .*Run `make setup`"):
        bare.bind(missing)
