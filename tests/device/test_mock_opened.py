"""ttnn opens a board on the mock, runs ops on it, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compiler.device import mock
from tests.device.test_mock import listing
from tests.forked import Ttnn, run_with_ttnn

RUN = """
import sys
import torch
import ttnn

if sys.argv[1] == "n300":
    workers = ttnn.DispatchCoreConfig(ttnn.DispatchCoreType.WORKER)
    device = ttnn.open_mesh_device(ttnn.MeshShape(1, 2), dispatch_core_config=workers)
else:
    device = ttnn.open_device(device_id=0)
tiles = dict(dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
x = ttnn.from_torch(torch.ones(1, 32, 64), **tiles)
weight = ttnn.from_torch(torch.ones(64, 96), **tiles)
result = ttnn.linear(ttnn.add(x, x), weight, activation="relu")
grid = device.compute_with_storage_grid_size()
print(f"{grid.x}x{grid.y}", ttnn.get_num_devices(), list(result.shape))
with open("/proc/self/maps") as maps:
    print("shared:", [line for line in maps if "/dev/shm/" in line])
(ttnn.close_mesh_device if sys.argv[1] == "n300" else ttnn.close_device)(device)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        ("n150", "8x8 1 [1, 32, 96]"),
        pytest.param("n300", "8x7 2 [1, 32, 96]", marks=pytest.mark.slow),
        pytest.param("p150", "13x10 1 [1, 32, 96]", marks=pytest.mark.slow),
        pytest.param("p100", "11x10 1 [1, 32, 96]", marks=pytest.mark.slow),
    ],
)
def test_ttnn_opens_the_board_and_leaves_nothing_behind(board: str, expected: str, cache: Path, tmp_path: Path) -> None:
    environment = mock.environment(board, cache)
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    environment |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    wheel = mock._wheel()
    before = listing(wheel)
    result = (subprocess.run if board == "n150" else run_with_ttnn)(
        [sys.executable, "-c", RUN, board],
        cwd=tmp_path / "work",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{expected}\nshared: []\n", "")
    assert list(Path(environment["TT_METAL_CACHE"]).rglob("*.elf")), "no kernel was compiled"
    assert listing(wheel) == before
    assert listing(tmp_path) == {}


@pytest.mark.slow
def test_two_processes_compile_into_one_new_cache(tmp_path: Path) -> None:
    environment = mock.environment("n150", tmp_path / "cache")
    command = [sys.executable, "-c", RUN, "n150"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [Ttnn(command, env=environment, cwd=tmp_path, text=True, **pipes) for _ in range(2)]
    try:
        outputs = [process.communicate(timeout=180) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert {errors for _, errors in outputs} == {""}
