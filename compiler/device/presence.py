"""Whether ttnn can find a device here: a card, the simulator, or the mock that the environment names.

Looking with ttnn itself takes seconds, after the seconds in which torch and a model are loaded. This imports neither.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from compiler.errors import DeviceError

MOCK: Final = "TT_METAL_MOCK_CLUSTER_DESC_PATH"
"""The variable that names a mock's board; beside ``SIMULATOR`` it describes the system that is simulated."""
SIMULATOR: Final = "TT_METAL_SIMULATOR"
"""The variable that names the simulator's library, which computes."""
DRIVER = Path("/dev/tenstorrent")
"""Where the driver lists its cards, and ttnn looks for them (tt-umd's ``PCIDevice::enumerate_devices``)."""
NO_DEVICE: Final = (
    "ttnn found no Tenstorrent device on this machine. With a card, `tt-smi` must list it; without one, "
    "`python -m compiler check` runs the graphs on ttnn's mock device"
)


def is_mock() -> bool:
    """Whether ttnn opens a mock in this process: where a board is described, and no simulator computes it.

    ttnn gives the simulator precedence where both variables are set (``rtoptions.cpp`` in tt-metal).
    """
    return MOCK in os.environ and not os.environ.get(SIMULATOR)


def require_device() -> None:
    """Raise ``DeviceError`` where ttnn is sure to find none. Whether one opens, only opening it tells."""
    if not (DRIVER.exists() or MOCK in os.environ or SIMULATOR in os.environ):
        raise DeviceError(NO_DEVICE)
