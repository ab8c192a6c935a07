"""Results that are made once for each key, and kept up to a bound: a cache for several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from compiler import torch_state


class Kept[Key: Hashable, Result]:
    """Results by key. Past ``most`` of them, the one that was asked for longest ago goes.

    A result that several threads ask for is made by the first, and the others wait; those of other keys are made side
    by side. Where making one fails, it raises there, and the next thread tries for itself.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._results: OrderedDict[Key, Result] = OrderedDict()
        self._making: dict[Key, tuple[threading.Lock, list[None]]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: Key, make: Callable[[], Result]) -> Result:
        """The result for ``key``: the one that is kept, or what ``make`` returns."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
            making, waiting = self._making.setdefault(key, (threading.Lock(), []))
            waiting.append(None)
        try:
            # Who makes it may have to wait until nobody computes, so nobody may wait here who does.
            with torch_state.aside(), making:
                with self._lock:
                    if key in self._results:
                        return self._results[key]
                made = make()
                with self._lock:
                    self._results[key] = made
                    while len(self._results) > self.most:
                        self._results.popitem(last=False)
                return made
        finally:
            with self._lock:
                waiting.pop()
                if not waiting:
                    self._making.pop(key, None)

    def close(self) -> None:
        """Let go of all results, and keep none from now on."""
        with self._lock:
            self.most = 0
            self._results.clear()

    def clear(self) -> None:
        """Let go of all results. What is being made meanwhile is kept when it is done."""
        with self._lock:
            self._results.clear()
