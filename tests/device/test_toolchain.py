"""The stand-in for Tenstorrent's compiler: what it writes, read back by other code, and what it refuses."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.device import toolchain
from tests.device.conftest import precompiled

SCRIPT = Path(toolchain.__file__)
VERSION = "riscv-tt-elf-g++ (tenstorrent/sfpi:1.2.3[4]) 5.6.7"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-ISE", str(SCRIPT), VERSION, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class Elf:
    """A reader that shares nothing with the writer: offsets and types straight from the specification."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        assert content[:7] == b"\x7fELF\x01\x01\x01", "32 bits, little-endian, version 1"
        self.type, self.machine = self.half(16), self.half(18)
        self.entry, segments, sections = self.word(24), self.word(28), self.word(32)
        assert (self.half(40), self.half(42), self.half(46)) == (52, 32, 40)
        self.segments = [self.words(segments + 32 * row, 8) for row in range(self.half(44))]
        rows = [self.words(sections + 40 * row, 10) for row in range(self.half(48))]
        names = rows[self.half(50)]
        self.names = [self.string(names[4] + row[0]) for row in rows]
        self.sections = dict(zip(self.names, rows, strict=True))

    def half(self, at: int) -> int:
        return int.from_bytes(self.content[at : at + 2], "little")

    def word(self, at: int) -> int:
        return int.from_bytes(self.content[at : at + 4], "little")

    def words(self, at: int, count: int) -> list[int]:
        return [self.word(at + 4 * place) for place in range(count)]

    def string(self, at: int) -> str:
        return self.content[at : self.content.index(0, at)].decode()

    def symbols(self) -> dict[str, tuple[int, int]]:
        """Value and section of each symbol."""
        _, kind, _, _, offset, size, strings, *_ = self.sections[".symtab"]
        assert kind == 2
        found = {}
        for at in range(offset, offset + size, 16):
            name = self.string(self.sections[self.names[strings]][4] + self.word(at))
            found[name] = self.word(at + 4), self.half(at + 14)
        return found


def check_kernel(content: bytes, text: int, data: int) -> None:
    elf = Elf(content)
    assert (elf.type, elf.machine, elf.entry) == (2, 243, text), "an executable for RISC-V"
    assert len(elf.segments) == 2
    (kind, offset, virtual, load, in_file, in_memory, flags, alignment), (*second,) = elf.segments
    assert (kind, virtual, load, flags, alignment) == (1, text, text, 5, 16)
    assert in_file == in_memory and in_file % 16 == 0 and in_file > 0
    assert offset % 16 == text % 16 == 0
    assert second == [1, offset + in_file, data, load + in_memory, 0, 16, 6, 16], (
        "right behind the code, not in the file"
    )

    assert elf.sections[".text"][1:6] == [1, 6, text, offset, in_file]
    assert elf.sections[".data"][1:4] == [8, 3, data]
    _, kind, _, _, offset, size, symbols, code, _, entry = elf.sections[".rela.text"]
    assert (kind, elf.names[symbols], elf.names[code], entry) == (4, ".symtab", ".text", 12)
    relocations = [elf.words(at, 3) for at in range(offset, offset + size, 12)]
    assert [(at, info & 0xFF, addend) for at, info, addend in relocations] == [(text, 26, 0), (text + 4, 27, 0)]
    assert {list(elf.symbols())[info >> 8] for _, info, _ in relocations} == {"kernel_data"}
    assert elf.symbols()["kernel_data"] == (data, elf.names.index(".data"))
    assert elf.symbols()["_start"] == (text, elf.names.index(".text"))

    start = elf.sections[".text"][4]
    upper, add, end, _ = elf.words(start, 4)
    assert (upper & 0xFFF, add & 0xFFFFF, end) == (0x537, 0x50513, 0x8067), "lui a0; addi a0, a0; ret"
    low = struct.unpack("<i", struct.pack("<I", add))[0] >> 20
    assert ((upper & 0xFFFFF000) + low) % 2**32 == data, "the two halves are the address of the data"


@pytest.mark.parametrize("data", [0, 0x7F0, 0x800, 0xFF0, 0xFFB00420, 0xFFB00800, 0xFFFFFFF0], ids=hex)
def test_a_kernel_has_what_the_loader_wants(data: int) -> None:
    check_kernel(toolchain.kernel(0x7020, data), 0x7020, data)


def test_a_kernel_goes_behind_each_firmware_of_the_package() -> None:
    files = sorted(precompiled().glob("*/*/*_weakened.elf"))
    assert {file.parent.name for file in files} >= {"brisc", "ncrisc", "trisc0", "trisc1", "trisc2", "idle_erisc"}
    for file in files:
        content = file.read_bytes()
        if file.parent.name == "erisc":
            with pytest.raises(toolchain.Refused, match="Wormhole's Ethernet cores"):
                toolchain.exported(content)
            continue
        text, data = toolchain.exported(content)
        symbols = Elf(content).symbols()
        for rounded, name in ((text, "__fw_export_text_end"), (data, "__fw_export_ldm_end")):
            assert rounded % 16 == 0 and 0 <= rounded - symbols[name][0] < 16, file
        check_kernel(toolchain.kernel(text, data), text, data)


def test_a_link_writes_the_kernel(firmware: Path, tmp_path: Path) -> None:
    output = tmp_path / "a kernel.elf"
    result = run("-O3", f"-Wl,--just-symbols={firmware}", "-Wl,--emit-relocs", tmp_path / "in.o", "-o", output)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    check_kernel(output.read_bytes(), *toolchain.exported(firmware.read_bytes()))


def test_a_compile_writes_an_empty_object_and_a_rule(tmp_path: Path) -> None:
    output, rule = tmp_path / "kernel.o", tmp_path / "kernel.d"
    result = run("-c", "-o", output, tmp_path / "kernel.cc", "-MF", rule)
    assert result.returncode == 0, result.stderr
    assert (output.read_bytes(), rule.read_text()) == (b"", f"{output}:\n")


def test_a_precompiled_header_is_an_empty_file(tmp_path: Path) -> None:
    result = run("-x", "c++-header", tmp_path / "pch.h", "-o", tmp_path / "pch.h.gch")
    assert result.returncode == 0, result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["pch.h.gch"]


def test_the_version_is_the_one_given() -> None:
    assert run("--version").stdout == f"{VERSION}\n"


def test_the_compiler_of_the_packages_firmware(firmware: Path) -> None:
    text = (precompiled().parent / "sfpi-version").read_text()
    fields = dict(line.split("=") for line in text.splitlines() if "=" in line)
    release, build = (fields[name].strip("'") for name in ("sfpi_version", "sfpi_build"))
    found = toolchain.compiler_of(firmware.read_bytes())
    assert found.startswith(f"(tenstorrent/sfpi:{release}[{build}]) ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"", "damaged or cut off"),
        (lambda content: content[:1000], "damaged or cut off"),
        (lambda content: b"MZ" + content[2:], "no 32-bit little-endian RISC-V ELF"),
        (lambda content: content[:18] + b"\x3e\0" + content[20:], "no 32-bit little-endian RISC-V ELF"),
        (
            lambda content: content.replace(b"__fw_export_ldm_end", b"__fw_export_ldm_END"),
            "no symbol '__fw_export_ldm_end'",
        ),
    ],
    ids=["empty", "cut off", "no ELF", "another machine", "no symbol"],
)
def test_a_wrong_firmware_is_refused(firmware: Path, tmp_path: Path, change, message: str) -> None:
    wrong = tmp_path / "wrong.elf"
    wrong.write_bytes(change(firmware.read_bytes()))
    result = run(f"-Wl,--just-symbols={wrong}", "-o", tmp_path / "kernel.elf")
    assert result.returncode == 1
    assert result.stderr.startswith("riscv-tt-elf-g++ (a stand-in for ttnn's mock device): firmware ")
    assert str(wrong) in result.stderr and message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "kernel.elf").exists()


REFUSED: dict[str, tuple[list[str], str]] = {
    "missing firmware": (["-Wl,--just-symbols=nowhere.elf", "-o", "kernel.elf"], "nowhere.elf"),
    "firmware itself": (["firmware.o", "-o", "firmware.elf"], "unset the variables whose names start with TT_METAL_"),
    "no output": (["-c", "kernel.cc"], "no -o FILE among the arguments: -c kernel.cc"),
    "no output name": (["-c", "kernel.cc", "-o"], "no -o FILE among the arguments"),
    "missing folder": (["-c", "kernel.cc", "-o", "nowhere/kernel.o"], "nowhere/kernel.o"),
}
"""What cannot be done, and what is said."""


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.returncode == 1
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_firmware_by_another_compiler_is_refused(firmware: Path) -> None:
    content = firmware.read_bytes()
    with pytest.raises(toolchain.Refused, match="names no compiler of Tenstorrent's"):
        toolchain.compiler_of(content.replace(b"(tenstorrent/sfpi:", b"(somebody-else/go:"))
    with pytest.raises(toolchain.Refused, match="names no compiler of Tenstorrent's: b''"):
        toolchain.compiler_of(toolchain.kernel(0, 0))
