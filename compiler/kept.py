"""Cache results by key, up to a bound, for several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from compiler import torch_state


class Kept[Key: Hashable, Result]:
    """A cache of at most ``most`` results. It drops the least recently used one first.

    If several threads ask for one key, the first makes the result and the others wait. Results of different keys are
    made concurrently. If making a result raises, the exception goes to the thread that made it, and the next waiting
    thread tries again.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._results: OrderedDict[Key, Result] = OrderedDict()
        self._making: dict[Key, tuple[threading.Lock, list[None]]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._results)

    def items(self) -> list[tuple[Key, Result]]:
        """The keys with their results, the least recently used first; being listed is no use."""
        with self._lock:
            return list(self._results.items())

    def get(self, key: Key, make: Callable[[], Result]) -> Result:
        """Return the cached result for ``key``, or cache and return what ``make`` returns."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
            making, waiting = self._making.setdefault(key, (threading.Lock(), []))
            waiting.append(None)
        try:
            # The maker may wait until no thread computes, so a thread that waits here must not count as computing.
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
        """Drop all results, and cache none from now on."""
        with self._lock:
            self.most = 0
            self._results.clear()

    def clear(self) -> None:
        """Drop all results. A result that is being made meanwhile is cached when it is done."""
        with self._lock:
            self._results.clear()
