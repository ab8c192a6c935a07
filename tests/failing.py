"""An executor that fails once, as a device may, or an interrupt in the middle of its work."""

from __future__ import annotations

from typing import Any

from compiler.runtime.reference import ReferenceExecutor


class Planted(Exception):
    """What the executor raises."""


def failing(method: str, at: int) -> ReferenceExecutor:
    """The reference executor, but its call ``at`` (from 1) of ``method`` raises :class:`Planted`."""
    executor, left = ReferenceExecutor(), [at]
    call = getattr(executor, method)

    def counted(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Planted(method)
        return call(*arguments)

    setattr(executor, method, counted)
    return executor
