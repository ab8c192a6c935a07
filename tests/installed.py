"""The ttnn of this environment, of which much works without a device."""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType

QUIET = {"TT_METAL_LOGGER_LEVEL": "FATAL", "LOGURU_LEVEL": "ERROR"}
"""What keeps ttnn from printing its configuration when it is imported."""


@cache
def installed() -> ModuleType:
    """Import ttnn, late, as that takes seconds. Processes that are started later are not quiet by this."""
    lent = {name: level for name, level in QUIET.items() if name not in os.environ}
    os.environ.update(lent)
    try:
        import ttnn
    finally:
        for name in lent:
            del os.environ[name]
    return ttnn
