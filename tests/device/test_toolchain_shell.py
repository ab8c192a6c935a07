"""The shell in front of the toolchain: it answers by itself what it answered before."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler.device import toolchain
from compiler.device.kernels import remove_damaged
from tests.device.conftest import precompiled
from tests.device.test_toolchain import REFUSED, SCRIPT, VERSION


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiler as ttnn calls it, in a path with a space and an apostrophe; its Python can be taken away."""
    folder = tmp_path_factory.mktemp("it's here")
    starter = folder / "riscv-tt-elf-g++"
    text = SCRIPT.with_suffix(".sh").read_text()
    text = text.replace("@PYTHON@", f"{shlex.quote(sys.executable)} -ISE").replace("@VERSION@", shlex.quote(VERSION))
    starter.write_text(text)
    starter.chmod(0o755)
    (folder / f"{starter.name}.py").write_text(SCRIPT.read_text())
    return starter


def call(
    compiler: Path, *arguments: object, kernels: Path | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"]} | ({} if kernels is None else {"TT_METAL_CACHE": str(kernels)})
    command = [str(compiler), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment, cwd=folder)


@pytest.fixture
def shell_alone(compiler: Path) -> Iterator[None]:
    """While it lasts, there is nothing behind the shell."""
    script = compiler.with_name(f"{compiler.name}.py")
    kept = script.read_text()
    script.write_text("raise SystemExit('the shell did not answer')")
    yield
    script.write_text(kept)


def test_the_shell_compiles_by_itself(compiler: Path, shell_alone: None, tmp_path: Path) -> None:
    output, rule, header = tmp_path / "a b.o", tmp_path / "it's.d", tmp_path / "pch.h.gch"
    made = call(compiler, "-O3", "-c", "-o", output, "kernel.cc", "-MF", rule)
    assert (made.returncode, made.stderr) == (0, "")
    assert (output.read_bytes(), rule.read_text()) == (b"", f"{output}:\n")
    assert call(compiler, "-x", "c++-header", "pch.h", "-o", header).returncode == 0
    assert header.read_bytes() == b""


def test_the_shell_links_what_was_linked_before(compiler: Path, firmware: Path, tmp_path: Path) -> None:
    kernels, output = tmp_path / "kernels", tmp_path / "a kernel.elf"
    link = ("-O3", f"-Wl,--just-symbols={firmware}", "in.o", "-o", output)
    assert call(compiler, *link, kernels=kernels).returncode == 0
    made = output.read_bytes()
    assert made == toolchain.kernel(*toolchain.exported(firmware.read_bytes()))
    script = compiler.with_name(f"{compiler.name}.py")
    kept = script.read_text()
    script.write_text("raise SystemExit('the shell did not answer')")
    try:
        output.unlink()
        assert call(compiler, *link, kernels=kernels).returncode == 0
        assert output.read_bytes() == made
        other = min(precompiled().glob("*/brisc/brisc_weakened.elf"))
        for where, target in ((kernels, other), (None, firmware), (tmp_path / "another", firmware)):
            again = call(compiler, f"-Wl,--just-symbols={target}", "-o", output, kernels=where)
            assert (again.returncode, again.stderr) == (1, "the shell did not answer\n")
    finally:
        script.write_text(kept)


def test_a_kept_kernel_that_is_damaged_is_deleted_and_made_again(
    compiler: Path, firmware: Path, tmp_path: Path
) -> None:
    output = tmp_path / "kernel.elf"
    link = (f"-Wl,--just-symbols={firmware}", "-o", output)
    call(compiler, *link, kernels=tmp_path)
    made = output.read_bytes()
    (kept,) = tmp_path.glob("stand-in/**/kernel.elf")
    for damage in (made[:100], b""):
        kept.write_bytes(damage)
        assert remove_damaged(tmp_path) == 1
        call(compiler, *link, kernels=tmp_path)
        assert output.read_bytes() == kept.read_bytes() == made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [*REFUSED.values(), (["-c", "kernel.cc", "-o", "kernel.o", "-MF", "nowhere/rule.d"], "nowhere/rule.d")],
)
def test_what_the_shell_cannot_do_is_refused_in_the_scripts_words(
    compiler: Path, arguments: list[str], message: str, tmp_path: Path
) -> None:
    made = call(compiler, *arguments, kernels=tmp_path, folder=tmp_path)
    assert made.returncode == 1
    assert message in made.stderr and len(made.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("kernel.elf"))


def test_the_version_passes_the_shell(compiler: Path) -> None:
    assert call(compiler, "--version").stdout == call(compiler, "-c", "-o", "x", "--version").stdout == f"{VERSION}\n"
