"""The ttnn of this environment, of which much works without a device."""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType

QUIET = {"TT_METAL_LOGGER_LEVEL": "FATAL", "LOGURU_LEVEL": "ERROR"}
"""What keeps ttnn from printing its configuration when it is imported."""


@cache
def installed() -> ModuleType:
    """Import ttnn, late, as that takes seconds."""
    for name, level in QUIET.items():
        os.environ.setdefault(name, level)
    import ttnn

    return ttnn
