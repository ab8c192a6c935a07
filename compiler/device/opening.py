"""Opening what ttnn finds in this process: a card, Tenstorrent's simulator, or the mock that the environment names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from compiler.device.executor import TtnnExecutor
from compiler.device.presence import NO_DEVICE, is_mock
from compiler.device.reasons import reason
from compiler.device.surroundings import survivable
from compiler.errors import DeviceError, InvalidArgument
from compiler.versions import require

SLOW_DISPATCH: Final = "TT_METAL_SLOW_DISPATCH_MODE"
"""The variable with which ttnn sends programs from the host; nothing can be replayed then."""
TRACE_REGION: Final = 64 * 1024 * 1024
"""Bytes of DRAM kept for captured steps; ttnn reserves them when the device is opened."""


def _untraceable() -> str | None:
    """What stands in the way of capturing a trace, if anything."""
    if is_mock():
        return "ttnn's mock device cannot capture a trace"
    if SLOW_DISPATCH in os.environ:
        return f"with {SLOW_DISPATCH} ttnn cannot capture a trace"
    return None


@contextmanager
def open_device(devices: int | None = None, *, trace: bool | None = None) -> Iterator[TtnnExecutor]:
    """Open a device, and close it again however the block ends.

    Args:
        devices: How many devices form the mesh, each of which takes a share of a batch's rows; by default one of a
            card's, and all of a mock's.
        trace: Whether the steps of a loop are captured and replayed; by default wherever that is possible, which is
            neither on a mock nor with slow dispatch.

    Raises:
        DeviceError: There is no device, or it cannot be opened; another process may hold it.
        InvalidArgument: ``trace`` where no trace can be captured; a mock would crash.
    """
    require("ttnn")
    obstacle = _untraceable()
    if trace and obstacle:
        raise InvalidArgument(f"trace=True: {obstacle}; leave it out, or take a card")
    traced = obstacle is None if trace is None else trace
    with survivable():
        import ttnn  # noqa: PLC0415, takes seconds, and says so on the terminal

        device = _opened(devices, {"trace_region_size": TRACE_REGION} if traced else {})
    try:
        yield TtnnExecutor(ttnn, device, traced=traced)
    finally:
        ttnn.close_mesh_device(device)


def _opened(devices: int | None, settings: dict[str, Any]) -> Any:
    import ttnn  # noqa: PLC0415

    mock = is_mock()
    try:
        found = ttnn.get_num_devices()
        count = devices or (found if mock else 1)
        if mock and found > 1:
            # With dispatch from ethernet cores, as a card of two chips has it, the mock refuses ttnn's own ops.
            settings["dispatch_core_config"] = ttnn.DispatchCoreConfig(ttnn.DispatchCoreType.WORKER)
        return ttnn.open_mesh_device(ttnn.MeshShape(1, count), **settings)
    except RuntimeError as error:
        raise DeviceError(_not_opened(error)) from None


def _not_opened(error: RuntimeError) -> str:
    said = reason(error)
    if "No chips detected" in said:
        return NO_DEVICE
    return f"the device could not be opened: {said}. If another process holds it, end that one; else try `tt-smi -r`"
