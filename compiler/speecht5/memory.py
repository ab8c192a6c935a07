"""Whether a batch fits this machine: asked before anything is traced or allocated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from compiler.errors import InvalidArgument

_FLOAT = 4
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def row_bytes(config: Any, text: int, steps: int) -> int:
    """Bytes that a row holds at the least while it is spoken, in float32 as the reference executor keeps all numbers.

    Keys and values of each decoder layer, for ``steps`` of speech and ``text`` tokens, and the frames: once, and once
    more as what a step makes of them.
    """
    attended = 2 * config.decoder_layers * config.hidden_size * (steps + text)
    frames = steps * config.reduction_factor * config.num_mel_bins
    held: int = 2 * _FLOAT * (attended + frames)
    return held


def machine_bytes() -> int:
    """Bytes of memory that this process may have: the machine's, or fewer where its control group has a limit."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # no control groups, or one without a limit, which says "max"
        return physical


def check_batch(config: Any, batch_size: int, text: int, steps: int) -> None:
    """Raise ``InvalidArgument`` for a batch of which not even the shortest utterances fit this machine's memory."""
    row, room = row_bytes(config, text, steps), machine_bytes()
    if batch_size * row > room:
        raise InvalidArgument(
            f"batch_size={batch_size}: {text} tokens and {steps} decoder steps take {_size(row)} of memory a row, so "
            f"the batch takes {_size(batch_size * row)} and this machine has {_size(room)}: take {max(room // row, 1)} "
            "rows or fewer",
            arguments=("batch_size",),
        )


def _size(count: int) -> str:
    """Two digits or more, in whole numbers, as a batch may be past what a float holds."""
    unit = 0
    while count >= 10_000 and unit < len(_UNITS) - 1:
        count, unit = count // 1000, unit + 1
    return f"{count} {_UNITS[unit]}"
