"""A stand-in for Tenstorrent's RISC-V compiler (SFPI): every kernel it makes is empty. For ttnn's mock device only.

ttnn compiles a few small kernels for each program, with ``riscv-tt-elf-g++``, which no package registry has. The mock
never runs them: it checks that they load, and where. So this script answers the four ways in which ttnn calls it:

- ``--version``: the text given as its own first argument. ttnn looks up its precompiled firmware by that text.
- ``-x c++-header -o FILE`` and ``-c -o FILE -MF RULE``: an empty file, and a make rule without prerequisites.
- ``-Wl,--just-symbols=FIRMWARE -o FILE``: an executable that returns at once, placed right after the firmware.
- A link without ``--just-symbols`` would be the firmware itself, which is refused; so is a kernel for the active
  Ethernet cores of Wormhole, whose firmware does not say where a kernel goes.

ttnn makes some hundred calls for a model. ``toolchain.sh`` stands before this script and answers those that need no
thought; the rest comes here, so this imports only what starts quickly.
"""

from __future__ import annotations

import os
import struct
import sys

# Records of a 32-bit little-endian ELF file, fields in the order of the System V ABI ("<": without padding).
HEADER = struct.Struct("<16s2H5I6H")
"""ident, type, machine, version, entry, program table, section table, flags, sizes and counts, section of names."""
SEGMENT = struct.Struct("<8I")
"""type, file offset, virtual address, load address, size in the file, size in memory, flags, alignment."""
SECTION = struct.Struct("<10I")
"""name, type, flags, address, file offset, size, link, info, alignment, size of an entry."""
SYMBOL = struct.Struct("<3I2BH")
"""name, value, size, binding and type, visibility, section."""
RELOCATION = struct.Struct("<2Ii")
"""address, symbol and type, addend."""

IDENT = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)  # 32 bits, little-endian, version 1
EXECUTABLE, RISCV = 2, 243
LOAD = 1  # the type of a segment
PROGBITS, SYMTAB, STRTAB, RELA, NOBITS = 1, 2, 3, 4, 8  # types of a section
WRITE, ALLOC, CODE, INFO_IS_SECTION = 1, 2, 4, 0x40  # flags of a section
HI20, LO12_I = 26, 27  # R_RISCV_HI20 and R_RISCV_LO12_I: the two halves of an absolute address
ALIGNMENT = 16


class Refused(Exception):
    """What was asked cannot be done; the message goes to standard error, where ttnn collects it."""


def kernel(text: int, data: int) -> bytes:
    """An executable that returns at once, for the addresses after the firmware's code (``text``) and ``data``.

    Only what ttnn's loader insists on is there, and each part for one of its checks: segments of a multiple of 16
    bytes, at most one each for code and data; the data's load address right behind the code ("inconsistent load
    addresses for packing" otherwise), with nothing in the file; a table of relocations with an entry ("there are no
    relocation sections"), which in turn needs a symbol in the data, and code to relocate.
    """
    high, low = (data + 0x800) >> 12 & 0xFFFFF, data & 0xFFF
    code = struct.pack(
        "<4I",
        high << 12 | 10 << 7 | 0x37,  # lui  a0, %hi(kernel_data)
        low << 20 | 10 << 15 | 10 << 7 | 0x13,  # addi a0, a0, %lo(kernel_data)
        0x00008067,  # ret
        0x00000013,  # nop
    )
    symbol_names = b"\0kernel_data\0_start\0"
    symbols = (
        SYMBOL.pack(0, 0, 0, 0, 0, 0)
        + SYMBOL.pack(symbol_names.index(b"kernel_data"), data, 4, 0x01, 0, 2)  # local object in section 2
        + SYMBOL.pack(symbol_names.index(b"_start"), text, len(code), 0x12, 0, 1)  # global function in section 1
    )
    relocations = RELOCATION.pack(text, 1 << 8 | HI20, 0) + RELOCATION.pack(text + 4, 1 << 8 | LO12_I, 0)
    names = b"\0.text\0.data\0.rela.text\0.symtab\0.strtab\0.shstrtab\0"

    body = bytearray(bytes(_aligned(HEADER.size + 2 * SEGMENT.size)))
    offsets = []
    for part in (code, relocations, symbols, symbol_names, names):
        offsets.append(len(body))
        body += part.ljust(_aligned(len(part)), b"\0")
    code_at, relocations_at, symbols_at, symbol_names_at, names_at = offsets

    def section(name: bytes, *fields: int) -> bytes:
        return SECTION.pack(names.index(name + b"\0"), *fields)

    sections = (
        bytes(SECTION.size),
        section(b".text", PROGBITS, ALLOC | CODE, text, code_at, len(code), 0, 0, ALIGNMENT, 0),
        section(b".data", NOBITS, ALLOC | WRITE, data, code_at + len(code), ALIGNMENT, 0, 0, ALIGNMENT, 0),
        section(b".rela.text", RELA, INFO_IS_SECTION, 0, relocations_at, len(relocations), 4, 1, 4, RELOCATION.size),
        # info: the first symbol that is not local
        section(b".symtab", SYMTAB, 0, 0, symbols_at, len(symbols), 5, 2, 4, SYMBOL.size),
        section(b".strtab", STRTAB, 0, 0, symbol_names_at, len(symbol_names), 0, 0, 1, 0),
        section(b".shstrtab", STRTAB, 0, 0, names_at, len(names), 0, 0, 1, 0),
    )
    sizes = (HEADER.size, SEGMENT.size, 2, SECTION.size, len(sections), len(sections) - 1)
    header = HEADER.pack(IDENT, EXECUTABLE, RISCV, 1, text, HEADER.size, len(body), 0, *sizes)
    segments = SEGMENT.pack(LOAD, code_at, text, text, len(code), len(code), 5, ALIGNMENT) + SEGMENT.pack(
        LOAD, code_at + len(code), data, text + len(code), 0, ALIGNMENT, 6, ALIGNMENT
    )
    body[: len(header + segments)] = header + segments
    return bytes(body) + b"".join(sections)


def sections_of(elf: bytes) -> list[tuple[str, int, int, bytes]]:
    """Name, type, linked section and contents of each section of an ELF file; ``Refused`` if it is none of RISC-V."""
    try:
        fields = HEADER.unpack_from(elf)
        if fields[0][:6] != IDENT[:6] or fields[2] != RISCV:
            raise Refused("it is no 32-bit little-endian RISC-V ELF file")
        start, count, names = fields[6], fields[12], fields[13]
        rows = [SECTION.unpack_from(elf, start + row * SECTION.size) for row in range(count)]
        contents = [b"" if row[1] == NOBITS else elf[row[4] : row[4] + row[5]] for row in rows]
        return [
            (_string(contents[names], row[0]), row[1], row[6], content)
            for row, content in zip(rows, contents, strict=True)
        ]
    except (struct.error, IndexError, ValueError):
        raise Refused("the ELF file is damaged or cut off") from None


def exported(firmware: bytes) -> tuple[int, int]:
    """Where the firmware's code ends and where its data ends, rounded up for the kernel that follows it."""
    sections = sections_of(firmware)
    found = {}
    for _, kind, link, content in sections:
        if kind == SYMTAB:
            for name, value, *_ in SYMBOL.iter_unpack(content):
                found[_string(sections[link][3], name)] = value
    try:
        return _aligned(found["__fw_export_text_end"]), _aligned(found["__fw_export_ldm_end"])
    except KeyError as missing:
        raise Refused(
            f"it has no symbol {missing}, so nothing says where a kernel goes. That of Wormhole's Ethernet cores has "
            "none: their kernels take Tenstorrent's real compiler"
        ) from None


def compiler_of(firmware: bytes) -> str:
    """The compiler that the firmware says it was made by, ``(tenstorrent/sfpi:<release>) <version>``."""
    comment = next((content for name, _, _, content in sections_of(firmware) if name == ".comment"), b"")
    mark, _, text = comment.rstrip(b"\0").decode("ascii", "replace").partition("GCC: ")
    if mark or not text.startswith("(tenstorrent/sfpi:"):
        raise Refused(f"its .comment section names no compiler of Tenstorrent's: {comment!r}")
    return text


def main(version: str, arguments: list[str]) -> None:
    """Do what the compiler's ``arguments`` ask for."""
    if "--version" in arguments:
        print(version)
        return
    output = _after("-o", arguments)
    if "-c" in arguments or "c++-header" in arguments:
        _write(output, b"")
        if "-MF" in arguments:
            _write(_after("-MF", arguments), f"{output}:\n".encode())
        return
    option = "-Wl,--just-symbols="
    firmware = next((argument.removeprefix(option) for argument in arguments if argument.startswith(option)), None)
    if firmware is None:
        raise Refused(
            "ttnn wants firmware compiled, which takes Tenstorrent's real compiler. Its precompiled firmware fits "
            "ttnn's default settings only: unset the variables whose names start with TT_METAL_"
        )
    try:
        with open(firmware, "rb") as file:
            text, data = exported(file.read())
    except (OSError, Refused) as error:
        raise Refused(f"firmware {firmware}: {error}") from None
    _write(output, kernel(text, data))


def _aligned(number: int) -> int:
    return (number + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def _string(table: bytes, start: int) -> str:
    return table[start : table.index(b"\0", start)].decode()


def _after(option: str, arguments: list[str]) -> str:
    try:
        return arguments[arguments.index(option) + 1]
    except (ValueError, IndexError):
        raise Refused(f"no {option} FILE among the arguments: {' '.join(arguments)}") from None


def _write(path: str, content: bytes) -> None:
    # ttnn passes names that no other process uses, and renames the files itself. What is not whole must not be there.
    part = f"{path}.part"
    try:
        with open(part, "wb") as file:
            file.write(content)
        os.replace(part, path)
    except OSError as error:
        try:  # noqa: SIM105, what suppresses errors takes longer to import than this script to run
            os.unlink(part)
        except OSError:
            pass
        raise Refused(str(error)) from None


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2:])
    except Refused as refusal:
        sys.exit(f"riscv-tt-elf-g++ (a stand-in for ttnn's mock device): {refusal}")
