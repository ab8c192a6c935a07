"""The environment of a mock device: what is made for it, and that ttnn runs under it on each board."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compiler.device import mock
from compiler.errors import DeviceError, InvalidArgument

COMPILER = "runtime/sfpi/compiler/bin/riscv-tt-elf-g++"


def root_of(environment: dict[str, str]) -> Path:
    return Path(environment["TT_METAL_RUNTIME_ROOT"])


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file; Python's own compiled modules are left out."""
    found = {}
    for at, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(at, name))]
        folders[:] = [name for name in folders if name != "__pycache__"]
        for path in (os.path.join(at, name) for name in (*files, *links)):
            about = os.lstat(path)
            found[os.path.relpath(path, folder)] = about.st_size, about.st_mtime_ns
    return found


@pytest.fixture
def no_sfpi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Tenstorrent's compiler, whatever this one has."""
    monkeypatch.setattr(mock, "SYSTEM_SFPI", tmp_path / "nowhere")


# --- what is made -----------------------------------------------------------------------------------------------------


def test_the_root_is_the_installed_ttnn_and_the_stand_in(no_sfpi: None, tmp_path: Path) -> None:
    root = root_of(mock.environment("n150", tmp_path / "cache"))
    wheel = mock._wheel()
    for name in ("tt_metal", "ttnn", "build", "runtime/hw"):
        assert (root / name).readlink() == wheel / name
    assert {part.name for part in (root / "runtime").iterdir()} == {
        "sfpi",
        *(part.name for part in (wheel / "runtime").iterdir()),
    }
    answer = subprocess.run([root / COMPILER, "--version"], capture_output=True, text=True, check=True, timeout=60)
    release = (wheel / "tt_metal/sfpi-version").read_text().split("sfpi_version='")[1].split("'")[0]
    assert answer.stdout.startswith(f"riscv-tt-elf-g++ (tenstorrent/sfpi:{release}[")


@pytest.mark.parametrize("board", ["n150", "n300", "p150", "p100"])
def test_a_board_has_a_description(board: str, tmp_path: Path) -> None:
    environment = mock.environment(board, tmp_path)
    lines = Path(environment["TT_METAL_MOCK_CLUSTER_DESC_PATH"]).read_text().splitlines()
    assert f"    - board_type: {board}" in lines
    assert all(environment[name].startswith(f"{tmp_path}/mock-") for name in ("TT_METAL_CACHE", "TT_METAL_LOGS_PATH"))


def test_there_is_a_description_of_every_board() -> None:
    from compiler.target.options import BOARDS

    assert {file.stem for file in (Path(mock.__file__).parent / "boards").iterdir()} == set(BOARDS)


def test_only_the_wanted_variables_of_ttnn_are_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TT_METAL_SIMULATOR", "TT_METAL_INSPECTOR", "TT_METAL_VISIBLE_DEVICES", "TTNN_CONFIG_OVERRIDES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TT_METAL_CACHE", "/somewhere/of/a/real/device")
    monkeypatch.setenv("SOMETHING_ELSE", "2")
    monkeypatch.delenv("TT_METAL_LOGGER_LEVEL", raising=False)
    quiet = mock.environment("n150", tmp_path)
    assert {name for name in quiet if name.startswith(("TT_", "TTNN_"))} == {
        "TT_METAL_MOCK_CLUSTER_DESC_PATH",
        "TT_METAL_RUNTIME_ROOT",
        "TT_METAL_CACHE",
        "TT_METAL_LOGS_PATH",
        "TT_METAL_SHM_TRACKING_DISABLED",
        "TT_METAL_LOGGER_LEVEL",
    }
    assert (quiet["SOMETHING_ELSE"], quiet["TT_METAL_LOGGER_LEVEL"]) == ("2", "FATAL")
    assert quiet["TT_METAL_CACHE"].startswith(str(tmp_path))
    monkeypatch.setenv("TT_METAL_LOGGER_LEVEL", "DEBUG")
    assert mock.environment("n150", tmp_path)["TT_METAL_LOGGER_LEVEL"] == "DEBUG"


def test_a_second_call_changes_nothing(no_sfpi: None, tmp_path: Path) -> None:
    first = mock.environment("n150", tmp_path)
    before = listing(tmp_path)
    assert mock.environment("n150", tmp_path) == first
    assert listing(tmp_path) == before and len(before) == 6


def test_what_is_missing_or_wrong_is_made_again(no_sfpi: None, tmp_path: Path) -> None:
    root = root_of(mock.environment("n150", tmp_path))
    targets = {name: (root / name).readlink() for name in ("ttnn", "build")}
    text = (root / COMPILER).read_text()
    (root / "ttnn").unlink()
    (root / "build").unlink()
    (root / "build").symlink_to("/nowhere")
    (root / COMPILER).write_text("#!/bin/sh\n")
    assert root_of(mock.environment("n150", tmp_path)) == root
    assert {name: (root / name).readlink() for name in targets} == targets
    assert (root / COMPILER).read_text() == text


def test_another_interpreter_has_another_folder(no_sfpi: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = root_of(mock.environment("n150", tmp_path))
    (tmp_path / "a b").mkdir()
    interpreter = tmp_path / "a b" / "it's python"
    interpreter.write_text('#!/bin/sh\necho "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    other = root_of(mock.environment("n150", tmp_path))
    assert other != usual
    answer = subprocess.run([other / COMPILER, "-l", "a b"], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.startswith(f"-ISE {other / COMPILER}.py riscv-tt-elf-g++ (tenstorrent/")
    assert answer.stdout.endswith(" -l a b\n")


def _environment(cache: Path, barrier: Any, results: Any) -> None:
    barrier.wait(60)
    results.put(mock.environment("n150", cache)["TT_METAL_RUNTIME_ROOT"])


def test_processes_at_once_share_a_root(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=_environment, args=(tmp_path, barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    roots = {results.get(timeout=90) for _ in processes}
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert roots == {mock.environment("n150", tmp_path)["TT_METAL_RUNTIME_ROOT"]}
    assert not list(tmp_path.rglob(".new-*"))
    before = listing(tmp_path)
    mock.environment("n150", tmp_path)
    assert listing(tmp_path) == before, "the root was whole"


# --- Tenstorrent's own compiler ---------------------------------------------------------------------------------------


def fake_sfpi(folder: Path) -> Path:
    compiler = folder / "compiler/bin/riscv-tt-elf-g++"
    compiler.parent.mkdir(parents=True)
    compiler.write_text("#!/bin/sh\n")
    return folder


def test_the_systems_compiler_is_taken_where_it_is(
    no_sfpi: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = mock.environment("n150", tmp_path / "cache")
    monkeypatch.setattr(mock, "SYSTEM_SFPI", fake_sfpi(tmp_path / "opt/sfpi"))
    real = mock.environment("n150", tmp_path / "cache")
    assert (root_of(real) / "runtime/sfpi").readlink() == tmp_path / "opt/sfpi"
    assert real["TT_METAL_CACHE"] != empty["TT_METAL_CACHE"], "real kernels and empty ones in one folder"


def test_the_packages_compiler_comes_first(no_sfpi: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = mock.environment("n150", tmp_path / "cache")
    wheel = tmp_path / "site-packages/ttnn"
    (wheel / "runtime").mkdir(parents=True)
    for name in ("tt_metal", "ttnn", "build", "runtime/hw"):
        (wheel / name).symlink_to(mock._wheel() / name)
    (wheel / "runtime/sfpi/compiler").mkdir(parents=True)
    monkeypatch.setattr(mock, "_wheel", lambda: wheel)
    without = root_of(mock.environment("n150", tmp_path / "cache"))
    assert (without / f"{COMPILER}.py").is_file(), "there is a folder for the compiler, but no compiler in it"

    (wheel / "runtime/sfpi/compiler").rmdir()
    (wheel / "runtime/sfpi").rmdir()
    fake_sfpi(wheel / "runtime/sfpi")
    monkeypatch.setattr(mock, "SYSTEM_SFPI", fake_sfpi(tmp_path / "opt/sfpi"))
    real = mock.environment("n150", tmp_path / "cache")
    assert (root_of(real) / "runtime/sfpi").readlink() == wheel / "runtime/sfpi"
    assert real["TT_METAL_CACHE"] != empty["TT_METAL_CACHE"]


@pytest.mark.parametrize("character", [" ", "'", "$", ";", "(", "*", "\n"])
def test_a_path_that_ttnn_cannot_take_is_refused(character: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=f"cannot take.*Set {mock.CACHE_VARIABLE} to a path of letters"):
        mock.environment("n150", tmp_path / f"a{character}b")
    assert not list(tmp_path.iterdir())


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_an_unknown_board_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="board='n151' is not known: choose one of n150, n300, p100, p150"):
        mock.environment("n151", tmp_path)


def test_a_cache_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeviceError, match=r"cannot be used: .*Not a directory") as raised:
        mock.environment("n150", tmp_path / "file" / "cache")
    assert str(tmp_path / "file" / "cache") in str(raised.value)
    assert f"Set {mock.CACHE_VARIABLE} to a folder that can be written" in str(raised.value)


def test_something_else_in_the_place_of_a_link_is_refused(tmp_path: Path) -> None:
    root = root_of(mock.environment("n150", tmp_path))
    (root / "ttnn").unlink()
    (root / "ttnn").mkdir()
    with pytest.raises(DeviceError, match=r"Is a directory.*/root/ttnn"):
        mock.environment("n150", tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser can write everywhere")
def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    mock.environment("n150", tmp_path)
    (kernels,) = tmp_path.glob("mock-*/kernels")
    kernels.chmod(0o500)
    with pytest.raises(DeviceError, match="Permission denied"):
        mock.environment("n150", tmp_path)


def test_an_installation_that_lacks_parts_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ttnn/tt_metal").mkdir(parents=True)
    (tmp_path / "ttnn/__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "ttnn", raising=False)
    with pytest.raises(DeviceError, match="tt_metal/pre-compiled, ttnn, build, runtime is missing there") as raised:
        mock.environment("n150", tmp_path / "cache")
    assert str(tmp_path / "ttnn") in str(raised.value)


def test_neither_ttnn_nor_torch_is_imported(tmp_path: Path) -> None:
    code = f"""import sys
from compiler.device import mock
mock.environment("n150", {str(tmp_path)!r})
print({{"ttnn", "torch"}} & set(sys.modules))"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "set()\n"
