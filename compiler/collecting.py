"""Python's collector of cycles, held back while many objects are made that live on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_holding = 0
_was_enabled = False


@contextmanager
def no_collecting() -> Iterator[None]:
    """Collect no cycles in this process until the block ends, in whichever thread it runs.

    Each pass of the collector looks at all objects of torch and of the graphs that are there: while graphs are made,
    that was up to half of the time. Blocks may be nested, and overlap in several threads; a collector that somebody
    else turned off stays off.
    """
    global _holding, _was_enabled  # noqa: PLW0603, the collector is one for the process
    with _lock:
        if _holding == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _holding += 1
    try:
        yield
    finally:
        with _lock:
            _holding -= 1
            if _holding == 0 and _was_enabled:
                gc.enable()
