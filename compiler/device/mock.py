"""ttnn's own mock device, from nothing but the installed package.

The mock checks, allocates, builds and dispatches every op, and computes nothing. ttnn opens it where environment
variables say so, and then wants three things that a plain installation lacks: a description of the board, which this
package brings; Tenstorrent's compiler for kernels, for which :mod:`compiler.device.toolchain` stands in; and a place
for both, as the installation stays as it is. That place is made here, on demand, in a cache folder::

    <cache>/mock-<key>/root/tt_metal, ttnn, build, runtime/*               links to the installation
                            runtime/sfpi/compiler/bin/riscv-tt-elf-g++     the stand-in
                       kernels/    what ttnn compiles, and keeps for the next process
                       logs/       what ttnn would write into the current folder

A full-size model takes about 10 MB of it on each board. Any ``mock-*`` folder may be deleted while nothing uses it.

The key covers everything that the root consists of, so another ttnn, interpreter or toolchain gets a folder of its
own; and where Tenstorrent's real compiler is installed, it is linked instead of the stand-in, so that empty kernels and
real ones never share a folder. No folder is ever one that ttnn uses for a real device.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import stat
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Final

from compiler.choices import advice
from compiler.device import toolchain
from compiler.device.kernels import remove_damaged, require_room
from compiler.device.surroundings import needed, temporary
from compiler.errors import DeviceError, InvalidArgument
from compiler.versions import require

CACHE_VARIABLE: Final = "SPEECHT5_TTNN_CACHE"
"""The environment variable that names the cache folder."""
QUIET: Final = {"TT_METAL_LOGGER_LEVEL": "FATAL", "LOGURU_LEVEL": "ERROR"}
"""Variables that keep ttnn's logs off the terminal."""
SYSTEM_SFPI = Path("/opt/tenstorrent/sfpi")
"""Where Tenstorrent's packages install the real compiler, and ttnn looks for it after its own ``runtime/sfpi``."""

_BOARDS: Final = Path(__file__).absolute().with_name("boards")
_COMPILER: Final = "compiler/bin/riscv-tt-elf-g++"
_STARTER: Final = Path(toolchain.__file__).with_suffix(".sh")
_OWN: Final = ("TT_", "TTNN_")
_KEPT: Final = ("TT_LOGGER_", "TT_METAL_LOGGER_")
_PLAIN: Final = "/._-+,@%=:"
"""The characters besides letters and digits that ttnn takes in a path: those without a meaning for a shell."""


def hush() -> None:
    """Keep ttnn's logs off the terminal in this process and its children, unless variables ask for them."""
    os.environ.update(QUIET | os.environ)


def environment(board: str, cache: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """The whole environment for a new process in which ttnn opens the mock of ``board``.

    It is this process's environment without ttnn's own variables, as most of them change which firmware ttnn wants;
    with those that ttnn crashes without; and with those that lead to the mock. ttnn's logs are off, unless a variable
    asks for them (``TT_METAL_LOGGER_LEVEL``). Kernels in the cache that are damaged are deleted, to be made again.

    Args:
        board: One of ``n150``, ``n300``, ``p150``, ``p100``.
        cache: The cache folder; by default ``$SPEECHT5_TTNN_CACHE``, else ``speecht5-ttnn`` in ``$XDG_CACHE_HOME`` or
            ``~/.cache``. ttnn takes no path with a space in it, or a character that a shell would read as something
            else: such a default is replaced by a folder of the user's own under the system's temporary folder, and so
            is one that cannot be written.

    Raises:
        UnsupportedVersion: ttnn is missing, or of a version that this project was not checked with.
        InvalidArgument: The board is not known, or ttnn cannot take the path of the given cache folder.
        DeviceError: The installed ttnn lacks parts, or the cache folder cannot be written, or its disk is full.
    """
    boards = sorted(file.stem for file in _BOARDS.glob("*.yaml"))
    if board not in boards:
        raise InvalidArgument(f"board={board!r} is not known: {advice(board, boards)}", arguments=("board",))
    require("ttnn")
    folder = _prepared(cache_folder(cache))
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(_OWN) or name.startswith(_KEPT)
    }
    leading = {
        "TT_METAL_MOCK_CLUSTER_DESC_PATH": str(_BOARDS / f"{board}.yaml"),
        "TT_METAL_RUNTIME_ROOT": str(folder / "root"),
        "TT_METAL_CACHE": str(folder / "kernels"),
        "TT_METAL_LOGS_PATH": str(folder / "logs"),
        # ttnn counts a device's memory in a file that all processes share, which is none of the mock's business.
        "TT_METAL_SHM_TRACKING_DISABLED": "1",
        # ttnn starts Open MPI, which leaves shared memory behind unless it is told to talk to its own process alone.
        "OMPI_MCA_btl": "self",
    }
    return QUIET | inherited | needed(inherited) | leading


def cache_folder(cache: str | os.PathLike[str] | None = None) -> Path:
    """The cache folder that ``environment`` uses for the same argument, as an absolute path; it need not exist."""
    named = os.fspath(cache) if cache is not None else os.environ.get(CACHE_VARIABLE)
    if named:
        folder = Path(os.path.expanduser(named)).absolute()
        if not _takes(folder):
            raise InvalidArgument(
                f"the cache folder {str(folder)!r} has a character in its path that ttnn cannot take, as it splits "
                f"command lines like a shell. Set {CACHE_VARIABLE} to a path of letters, digits and any of {_PLAIN}"
            )
        return folder
    base = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path in that variable counts as none; "~" stays as it is for a user without a home folder.
    folder = Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "speecht5-ttnn")
    fits = folder.is_absolute() and _takes(folder) and _can_be_made(folder)
    return folder if fits else _temporary(folder)


def _takes(path: Path) -> bool:
    return all(character.isalnum() or character in _PLAIN for character in str(path))


def _can_be_made(folder: Path) -> bool:
    """Whether this user may write to a folder, or make it: those of services and in containers often have no home."""
    nearest = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _temporary(wanted: Path) -> Path:
    """A folder of this user's own under the system's temporary folder, where anybody may have made one before."""
    folder = Path(temporary(), f"speecht5-ttnn-{os.getuid()}").absolute()
    advice = f"Set {CACHE_VARIABLE} to a folder of your own, without spaces in its path"
    if not _takes(folder):
        raise DeviceError(f"ttnn cannot take the cache folder's path {str(wanted)!r}, nor {str(folder)!r}. {advice}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise DeviceError(f"the cache folder {str(folder)!r} cannot be made: {error.strerror}. {advice}") from None
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise DeviceError(f"{str(folder)!r} is no folder that only this user can use. {advice}")
    return folder


def _prepared(cache: Path) -> Path:
    """The folder in ``cache`` for the installed ttnn; what is missing of it is made."""
    contents = _contents()
    key = hashlib.sha256(repr((metadata.version("ttnn"), sorted(contents.items()))).encode()).hexdigest()[:16]
    folder = cache / f"mock-{key}"
    try:
        for name in ("root", "kernels", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            if not _holds(folder / "root" / name, content):
                _place(folder / "root" / name, content)
        remove_damaged(folder / "kernels")
        # ttnn is the next to write there, and its message would not say what to do.
        require_room(folder / "kernels")
    except OSError as error:
        raise DeviceError(
            f"the cache folder {str(cache)!r} cannot be used: {error}. "
            f"Set {CACHE_VARIABLE} to a folder that can be written, on a disk with 100 MB to spare"
        ) from None
    return folder


def _contents() -> dict[str, Path | str]:
    """What a root consists of: for each path in it the target of a link, or the text of a file."""
    wheel = _wheel()
    contents: dict[str, Path | str] = {name: wheel / name for name in ("tt_metal", "ttnn", "build")}
    contents |= {f"runtime/{part.name}": part for part in sorted((wheel / "runtime").iterdir()) if part.name != "sfpi"}
    for sfpi in (wheel / "runtime/sfpi", SYSTEM_SFPI):
        if (sfpi / _COMPILER).exists():
            return contents | {"runtime/sfpi": sfpi}
    # The flags keep Python's variables and what site-packages does at every start out of short runs. A first line
    # "#!interpreter" would end at a space in its path, or at 127 characters.
    script = f"runtime/sfpi/{_COMPILER}.py"
    interpreter = shlex.join([os.path.realpath(sys.executable), "-ISE"])
    start = _STARTER.read_text().replace("@PYTHON@", interpreter)
    start = start.replace("@VERSION@", shlex.quote(_compiler_version(wheel)))
    return contents | {f"runtime/sfpi/{_COMPILER}": start, script: Path(toolchain.__file__).read_text()}


def _wheel() -> Path:
    """The folder of the installed ttnn, found without importing it, which takes two seconds."""
    spec = importlib.util.find_spec("ttnn")
    wheel = Path(spec.origin).parent if spec and spec.origin else Path("ttnn")
    missing = [name for name in ("tt_metal/pre-compiled", "ttnn", "build", "runtime") if not (wheel / name).is_dir()]
    if missing:
        raise DeviceError(
            f"ttnn is installed in {str(wheel)!r}, but {', '.join(missing)} is missing there. "
            "Install it again: python -m pip install --force-reinstall --no-deps ttnn"
        )
    return wheel.absolute()


def _compiler_version(wheel: Path) -> str:
    """What the compiler must answer so that ttnn takes its precompiled firmware: the name of that which made it."""
    firmware = min((wheel / "tt_metal/pre-compiled").glob("*/brisc/brisc.elf"), default=None)
    try:
        if firmware is None:
            raise toolchain.Refused("there is none")
        version = toolchain.compiler_of(firmware.read_bytes())
    except (OSError, toolchain.Refused) as error:
        where = firmware or wheel / "tt_metal/pre-compiled"
        raise DeviceError(f"ttnn's precompiled firmware, {str(where)!r}: {error}") from None
    return f"riscv-tt-elf-g++ {version}"


def _holds(place: Path, content: Path | str) -> bool:
    if isinstance(content, Path):
        return place.is_symlink() and place.readlink() == content
    return place.is_file() and place.read_bytes() == content.encode()


def _place(place: Path, content: Path | str) -> None:
    """Put a link or an executable text at ``place`` in one move, as another process may be doing the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as name:
        made = Path(name, "made")
        if isinstance(content, Path):
            made.symlink_to(content)
        else:
            made.write_text(content)
            made.chmod(0o755)
        made.replace(place)
