"""What Tenstorrent's tool says of this machine's boards: their kinds, firmware and driver, and nothing personal."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

_SECONDS = 60.0
_HOST = {"Driver": "driver", "Kernel": "kernel", "Distro": "system"}
"""What is taken of what it says of the host; its name is left out."""
UNKNOWN = "not known: Tenstorrent's tt-smi is not installed"


def firmware() -> dict[str, str]:
    """Return board, firmware and driver versions as ``tt-smi -s`` has them; a reason where it says nothing.

    Serial numbers, bus addresses and the host's name are left out.
    """
    tool = shutil.which("tt-smi")
    if tool is None:
        return {"boards": UNKNOWN}
    try:
        run = subprocess.run([tool, "-s"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        said = run.stdout.decode(errors="replace")
        found = json.loads(said[said.index("{") : said.rindex("}") + 1])
        return _kept(found)
    except subprocess.TimeoutExpired:
        return {"boards": f"not known: tt-smi did not answer for {_SECONDS:.0f} s"}
    except (OSError, ValueError, TypeError, AttributeError):
        return {"boards": "not known: tt-smi -s printed no JSON of boards"}


def _kept(found: Mapping[str, Any]) -> dict[str, str]:
    kept = {name: str(found["host_info"][key]) for key, name in _HOST.items() if key in found.get("host_info", {})}
    for at, board in enumerate(found.get("device_info", [])):
        kept[f"board {at}"] = str(board.get("board_info", {}).get("board_type", "not known"))
        firmwares = board.get("firmwares", {})
        kept[f"firmware of board {at}"] = ", ".join(f"{name} {version}" for name, version in firmwares.items())
    return kept or {"boards": "not known: tt-smi -s names none"}
