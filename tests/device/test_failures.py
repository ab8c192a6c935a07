"""What goes wrong with a device, and what is said then."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

import compiler.pipeline  # noqa: F401, registers the rules
from compiler import versions
from compiler.device import executor, mock, opening, presence
from compiler.device.binder import Binder
from compiler.device.findings import GraphCheck, Plan
from compiler.device.reasons import Refused, placing, reason
from compiler.device.session import Session, probe
from compiler.dialects.aten import ops
from compiler.dialects.ttnn.call import TtnnCall
from compiler.errors import DeviceError, InvalidArgument
from compiler.ir.graph import Port, Value
from compiler.ir.settings import Placement
from compiler.ir.types import DType, Layout, Memory, TensorType
from compiler.runtime.executable import Executable
from compiler.runtime.weights import Weights
from compiler.target.boards import BOARDS
from compiler.versions import UnsupportedVersion
from lowering import rules
from tests.device import inside
from tests.lowering.cases.attention import attention
from tests.lowering.cases.sketch import Build, Spec

LESS = "Compile for shorter lengths or a smaller batch"


def plan(build: Build, dtype: DType = DType.BFLOAT16, memory: Memory | None = None, **attributes: str) -> Plan:
    """A graph to check. ``memory`` is where all its nodes are told to write to, ``attributes`` are added to theirs."""
    drawn = Spec("doctored", build).sketch()
    graph = rules.lower(drawn.graph, dtype)
    nodes = [replace(n, attributes=tuple(sorted({**dict(n.attributes), **attributes}.items()))) for n in graph.nodes]
    if memory is not None:
        nodes = [replace(node, placement=Placement(memory=memory)) for node in nodes]
    return Plan.of(Executable(replace(graph, nodes=tuple(nodes)), Weights(drawn.parameters)), "doctored")


def complaint(session: Session, asked: Plan) -> str:
    found: GraphCheck = session.call("compiler.device.checks:check", asked)
    assert not found.passed
    (only,) = found.complaints
    assert only.origin == "model (line:1)"
    assert "backtrace" not in only.reason and ".so" not in only.reason
    return f"{only.node}: {only.reason}"


# --- memory -----------------------------------------------------------------------------------------------------------


def test_out_of_dram(session: Session, on_device: bool) -> None:
    if on_device:
        pytest.skip("the numbers are those of an n150")
    said = complaint(session, plan(lambda s: s(ops.expand.default, s.x(1, 1), (200_000, 65_536))))
    assert re.sub(r"where 102\d\.\d MiB", "where 1023 MiB", said) == (
        "ttnn.expand(input_tensor=bf16[1,1] tile dram): out of DRAM: it asks for 24.4 GiB, 2.0 GiB a bank, "
        f"where 1023 MiB of 1023.0 MiB are free. {LESS}"
    )


def test_out_of_l1_for_a_result(session: Session, on_device: bool) -> None:
    if on_device:
        pytest.skip("the numbers are those of an n150")
    said = complaint(session, plan(lambda s: s(ops.expand.default, s.x(1, 8192), (8192, 8192)), memory=Memory.L1))
    assert said == (
        "ttnn.expand(input_tensor=bf16[1,8192] tile dram): out of L1: it asks for 128.0 MiB, 2.0 MiB a core, "
        f"where 1.3 MiB of 1.3 MiB are free. {LESS}"
    )


def test_out_of_l1_for_buffers(session: Session) -> None:
    said = complaint(session, plan(lambda s: attention(s, 1, 1, 32, 32, 8192)))
    assert said.startswith("ttnn.transformer.scaled_dot_product_attention(input_tensor_q=bf16[1,1,32,8192] tile dram")
    assert said.endswith(f": out of L1: its circular buffers take 4.1 MiB a core, where 1.4 MiB are free. {LESS}")


def test_buffers_that_run_into_tensors_are_out_of_l1() -> None:
    error = RuntimeError(
        "TT_THROW @ program.cpp:1: tt::exception\ninfo:\nStatically allocated circular buffers in program 7 clash with "
        "L1 buffers on core range [0-0 - 7-7]. L1 buffer allocated at 524288 and static circular buffer region ends "
        "at 1048576\nbacktrace:\n --- a.so"
    )
    assert reason(error) == f"out of L1: its circular buffers take 1.0 MiB a core, where 512.0 KiB are free. {LESS}"


def test_weights_that_do_not_fit_say_so() -> None:
    type = TensorType((4, 4), DType.BFLOAT16, Layout.TILE, Memory.DRAM)
    error = RuntimeError(
        "Out of Memory: Not enough space to allocate 2048 B DRAM buffer across 12 banks, where each bank needs "
        "to store 2048 B, but bank size is 1024 B (allocated: 0 B, free: 1024 B, largest free block: 1024 B)"
    )
    wanted = r"ttnn refused to place a tensor bf16\[4,4\] tile dram: out of DRAM: it asks for 2.0 KiB, "
    with pytest.raises(DeviceError, match=wanted), placing(type):
        raise error


# --- ops ------------------------------------------------------------------------------------------------------------


def test_a_result_of_another_type_than_inferred(session: Session) -> None:
    said = complaint(session, plan(lambda s: s(ops.relu.default, s.x(2, 3)), memory=Memory.L1))
    assert said == (
        "ttnn.relu(input_tensor=bf16[2,3] tile dram): memory: INTERLEAVED DRAM was inferred, ttnn made INTERLEAVED L1"
    )


def test_a_head_that_is_no_whole_tile_is_refused_with_ttnns_own_reason(session: Session) -> None:
    drawn = Spec("doctored", lambda s: attention(s, 1, 2, 4, 4, 32)).sketch()
    graph = rules.lower(drawn.graph, DType.BFLOAT16)
    narrow = {port.value: Value(port.value.type.with_(shape=(1, 2, 4, 24))) for port in graph.inputs}
    (node,) = graph.nodes
    doctored = replace(
        graph,
        inputs=tuple(Port(port.name, narrow[port.value]) for port in graph.inputs),
        nodes=(replace(node, operands=tuple(narrow[value] for value in node.operands)),),
    )
    said = complaint(session, Plan.of(Executable(doctored, Weights({})), "doctored"))
    assert said.endswith(": Padding is not supported on the head_dim dimension (logical_shape[3] == legacy_shape[3])")


def test_float32_is_refused_by_ttnn_itself(session: Session) -> None:
    said = complaint(session, plan(lambda s: attention(s, 1, 1, 4, 4, 32), DType.FLOAT32))
    assert said.startswith("ttnn.transformer.scaled_dot_product_attention(input_tensor_q=f32[1,1,4,32] tile dram")


def test_an_op_that_ttnn_has_no_more() -> None:
    with pytest.raises(DeviceError, match=r"installed ttnn has no op ttnn\.gone\.linear: .*Run `make setup`"):
        Binder(types.SimpleNamespace(), None, BOARDS["n150"].device).bind(TtnnCall("ttnn.gone.linear", (), ()))


def test_arguments_that_ttnn_takes_no_more(session: Session) -> None:
    said = complaint(session, plan(lambda s: s(ops.relu.default, s.x(2, 3)), gone="1"))
    assert said == (
        "ttnn.relu(input_tensor=bf16[2,3] tile dram): ttnn.relu(): incompatible function arguments. "
        "The installed ttnn takes other arguments than those that the plan was made for"
    )


@pytest.mark.parametrize("found", ["0.80.0", None])
def test_another_ttnn(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if found is None:
            raise versions.metadata.PackageNotFoundError
        return found

    monkeypatch.setattr(versions.metadata, "version", version)
    what = f"ttnn {found} is installed" if found else "ttnn is not installed"
    wanted = f"{what}, but this project supports only ttnn==0.81.1"
    with pytest.raises(UnsupportedVersion, match=wanted), opening.open_device():
        pass
    with pytest.raises(UnsupportedVersion, match=wanted):
        mock.environment("n150")


# --- no device ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_card() -> None:
    if presence.DRIVER.exists() or presence.MOCK in os.environ or presence.SIMULATOR in os.environ:
        pytest.skip("there is a device")


def test_no_device(no_card: None) -> None:
    """What ttnn itself finds is what is said before it is asked."""
    with Session(None) as session, pytest.raises(DeviceError) as error:
        session.call(inside.whereabouts)
    assert str(error.value) == presence.NO_DEVICE
    with pytest.raises(DeviceError) as error:
        probe()
    assert str(error.value) == presence.NO_DEVICE


def test_no_device_for_the_command_line(no_card: None, tmp_path: Path) -> None:
    """It is said before anything heavy is imported, by each command that takes a device; all in one process."""
    commands = ("check",), ("speak", "four"), ("tune",), ("verify",), ("bring-up", "-o", "found")
    code = f"""
import sys
from compiler.cli import app
for command in {commands}:
    try:
        app([*command, "--device"])
    except SystemExit as end:
        assert end.code == 1, command
    assert not {{"torch", "ttnn"}} & set(sys.modules), command
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    said = [line for line in run.stderr.splitlines() if not line.startswith("bring-up: ")]
    assert said == [f"error: {presence.NO_DEVICE}"] * 4
    assert f"no device opens: {presence.NO_DEVICE}" in (tmp_path / "found" / "report.md").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["found"]


@pytest.mark.parametrize(
    ("driver", "variables", "found"),
    [
        (False, {}, False),
        (True, {}, True),
        (False, {presence.MOCK: "board.yaml"}, True),
        (False, {presence.SIMULATOR: "libttsim_wh.so"}, True),
    ],
)
def test_a_device_is_looked_for_only_where_there_may_be_one(
    driver: bool, variables: dict[str, str], found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (presence.MOCK, presence.SIMULATOR):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(presence, "DRIVER", tmp_path if driver else tmp_path / "none")
    with nullcontext() if found else pytest.raises(DeviceError, match="no Tenstorrent device"):
        presence.require_device()


def test_a_float32_plan_stays_off_devices() -> None:
    drawn = Spec("plain", lambda s: s(ops.relu.default, s.x(2, 3))).sketch()
    executable = Executable(rules.lower(drawn.graph, DType.FLOAT32), Weights({}))
    with pytest.raises(InvalidArgument, match="plain was compiled in float32, which only the reference executor runs"):
        executor._check_precision(executable)


@pytest.mark.parametrize(("board", "cores", "banks"), [("p150", 130, 8), ("p100", 110, 7)])
def test_a_plan_for_another_board(session: Session, on_device: bool, board: str, cores: int, banks: int) -> None:
    if on_device:
        pytest.skip("--device: a plan for the mock n150 is asked for, and this may be another board")
    drawn = Spec("plain", lambda s: s(ops.relu.default, s.x(2, 3))).sketch()
    executable = Executable(rules.lower(drawn.graph, DType.BFLOAT16), Weights({}), board)
    with pytest.raises(InvalidArgument) as error:
        session.call("compiler.device.checks:outputs", Plan.of(executable, "plain", drawn.inputs))
    assert str(error.value) == (
        f"the graph plain was compiled for a {board}, with {cores} cores and {banks} banks of DRAM; this device has 64 "
        "(8x8) and 12: compile with board='n150'"
    )


def test_a_refusal_while_running_names_graph_node_and_origin(session: Session) -> None:
    asked = plan(lambda s: s(ops.relu.default, s.x(2, 3)), gone="1")
    with pytest.raises(Refused, match=r"ttnn refused ttnn\.relu\(.*\) in graph doctored, from model \(line:1\): ttnn"):
        session.call("compiler.device.checks:outputs", asked)
