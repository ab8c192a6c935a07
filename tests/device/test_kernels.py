"""Kernels that a full disk or a power cut left damaged are made again, and a full disk is called what it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler.device import kernels, mock, toolchain
from compiler.errors import DeviceError
from tests.device.test_mock_opened import RUN
from tests.forked import run_with_ttnn

WHOLE = toolchain.kernel(0x4000, 0xFFB00000)
DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "the header alone": lambda content: content[:52],
    "half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "zeros from the middle on": lambda content: content[: len(content) // 2].ljust(len(content), b"\0"),
    "another file": lambda content: b"#!/bin/sh\n" * 60,
}


def kernel(cache: Path, name: str, content: bytes = WHOLE) -> Path:
    """A file where ttnn keeps kernels of the processor ``brisc``."""
    file = cache / "tt-metal-cache1/kernels/reader/7/brisc" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_kernel_is_deleted(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = kernel(tmp_path, "brisc.elf", damage(WHOLE))
    assert kernels.remove_damaged(tmp_path) == 1
    assert not file.exists()


def test_whole_kernels_and_what_another_process_is_making_stay(tmp_path: Path) -> None:
    names = ["brisc.elf", "brisck.o", "brisc.18402002763633585854_32758.elf", "brisc.elf.xip.elf", ".build_state"]
    files = [kernel(tmp_path, name, WHOLE if name == "brisc.elf" else b"") for name in names]
    assert kernels.remove_damaged(tmp_path) == 0
    assert all(file.exists() for file in files)


def test_the_packages_own_firmware_counts_as_whole(tmp_path: Path) -> None:
    """It is what Tenstorrent's real compiler makes."""
    for file in sorted((mock._wheel() / "tt_metal/pre-compiled").glob("*/brisc/brisc.elf")):
        placed = kernel(tmp_path, "brisc.elf", file.read_bytes())
        assert kernels.remove_damaged(tmp_path) == 0 and placed.exists()


def test_a_kernel_that_another_process_put_in_its_place_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, new = kernel(tmp_path, "brisc.elf", b""), kernel(tmp_path, "new")

    def looked(content: bytes) -> bool:
        new.replace(file)
        return False

    monkeypatch.setattr(kernels, "_is_whole", looked)
    assert kernels.remove_damaged(tmp_path) == 0
    assert file.read_bytes() == WHOLE


def test_an_environment_has_no_damaged_kernels(tmp_path: Path) -> None:
    folder = Path(mock.environment("n150", tmp_path)["TT_METAL_CACHE"])
    file = kernel(folder, "brisc.elf", b"")
    mock.environment("n150", tmp_path)
    assert not file.exists()


def test_another_ttnn_has_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = mock.environment("n150", tmp_path)["TT_METAL_CACHE"]
    monkeypatch.setattr(mock, "require", lambda package: None)
    monkeypatch.setattr(mock.metadata, "version", lambda package: "0.82.0")
    assert mock.environment("n150", tmp_path)["TT_METAL_CACHE"] != usual


def test_a_root_whose_compiler_is_damaged_is_mended(tmp_path: Path) -> None:
    root = Path(mock.environment("n150", tmp_path)["TT_METAL_RUNTIME_ROOT"])
    if (root / "runtime/sfpi").is_symlink():
        pytest.skip("Tenstorrent's own compiler is installed")
    files = [root / f"runtime/sfpi/compiler/bin/riscv-tt-elf-g++{end}" for end in ("", ".py")]
    texts = [file.read_text() for file in files]
    for damage in (b"", b"\xff\xfe\x00"):
        for file in files:
            file.write_bytes(damage)
        mock.environment("n150", tmp_path)
        assert [file.read_text() for file in files] == texts


# --- a full disk ------------------------------------------------------------------------------------------------------

FULL = Path("/dev/full")
"""A file that cannot be written as there is no space left."""


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files lie on a full disk."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: FULL.open("wb"))


def test_a_full_disk_is_refused_before_ttnn_starts(full: None, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"cannot be used: .*No space left on device.*on a disk with 100 MB to spare"):
        mock.environment("n150", tmp_path)


def test_an_op_is_not_blamed_for_a_full_disk(full: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TT_METAL_CACHE", str(tmp_path))
    kernels.blame_disk(RuntimeError("TT_FATAL @ x.cpp:1: the shape is wrong"))
    with pytest.raises(DeviceError, match=f"cannot write its kernels into '{tmp_path}': No space left on device. Make"):
        kernels.blame_disk(RuntimeError("Failed to generate binaries for bmm_metal2 Failed to write file: x.h"))


def test_a_kernel_that_cannot_be_compiled_is_the_ops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TT_METAL_CACHE", str(tmp_path))
    kernels.blame_disk(RuntimeError("Failed to generate binaries for bmm_metal2 error: static assertion failed"))


def test_the_compiler_leaves_nothing_that_is_not_whole(tmp_path: Path) -> None:
    (tmp_path / "kernel.elf.part").symlink_to(FULL)
    with pytest.raises(toolchain.Refused, match="No space left on device"):
        toolchain._write(str(tmp_path / "kernel.elf"), WHOLE)
    assert list(tmp_path.iterdir()) == []


# --- ttnn itself ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ttnn_makes_damaged_kernels_again(tmp_path: Path) -> None:
    def run() -> str:
        environment = mock.environment("n150", tmp_path)
        command = [sys.executable, "-c", RUN, "n150"]
        done = run_with_ttnn(command, env=environment, capture_output=True, text=True, timeout=300)
        return f"{done.returncode} {done.stdout.splitlines()[:1]} {done.stderr}"

    first = run()
    assert first.startswith("0 ['8x8")
    files = [file for file in tmp_path.rglob("*.elf") if file.stem == file.parent.name and "kernels" in file.parts]
    assert len(files) > 8
    damages = list(DAMAGED.values())
    for i, file in enumerate(files):
        os.truncate(file, 0)
        file.write_bytes(damages[i % len(damages)](WHOLE))
    assert run() == first
    assert kernels.remove_damaged(tmp_path) == 0
