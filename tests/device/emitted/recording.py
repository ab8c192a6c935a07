"""What is called of ttnn, as data flow: two recordings are equal where the same calls get the same values."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from tests.device.standin.tensors import Tensor

_OBJECTS = ("init_device_compute_kernel_config", "num_cores_to_corerangeset", "get_memory_view")
"""Functions that make or tell what is no tensor: how often they are asked is no matter."""
_IN_PLACE: dict[str, tuple[str | int, ...]] = {
    "ttnn.plus_one": ("input_tensor",),
    "ttnn.copy": (1,),
    "ttnn.copy_host_to_device_tensor": (1,),
    "ttnn.experimental.indexed_fused_update_cache": ("cache_tensor1", "cache_tensor2"),
}
"""Operands that calls update: their values are others afterwards."""


def _says_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, list) and not value)


class Recorder:
    """A module of ttnn in whose place it stands: it hands on all calls, and keeps what each was given.

    Each object that a call returns is known by that call, so that a value is told by all that went into it. Arguments
    that are None or no items are left out, as they are where nothing is said.
    """

    def __init__(self, module: Any, device: Any) -> None:
        self.calls: Counter[str] = Counter()
        self.texts: dict[str, str] = {}
        # Objects are not kept, as tensors would fill the device's memory. What gets the place of one that is gone comes
        # from a call, too, and is noted anew; of other types are those that do not.
        self._known: dict[int, tuple[type, str]] = {}
        self._device_type = type(device)
        self.live: dict[str, int] = {}
        self._held: list[weakref.ref[Any]] = []
        self.module = _Part(self, module, "ttnn")

    def call(self, path: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        said = [self.say(value) for value in args]
        said += [f"{name}={self.say(value)}" for name, value in sorted(kwargs.items()) if not _says_nothing(value)]
        text = f"{path}({', '.join(said)})"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        if not path.rpartition(".")[2][0].isupper() and path.removeprefix("ttnn.") not in _OBJECTS:
            self.calls[digest] += 1
            self.texts[digest] = text
        made = function(*args, **kwargs)
        self._remember(made, digest)
        if digest in self.texts:
            self._weigh(digest)
        for at, place in enumerate(_IN_PLACE.get(path, ())):
            target = args[place] if isinstance(place, int) else kwargs[place]
            several = len(_IN_PLACE[path]) > 1
            self._known[id(target)] = (type(target), f"{digest}[{at}]" if several else digest)
        return made

    def _remember(self, made: Any, digest: str) -> None:
        if isinstance(made, list | tuple):
            for at, each in enumerate(made):
                self._remember(each, f"{digest}[{at}]")
        elif made is not None and not isinstance(made, bool | int | float | str | torch.Tensor):
            self._known[id(made)] = (type(made), digest)
            if isinstance(made, Tensor) and made.held_on is not None and not made.in_dram:
                self._held.append(weakref.ref(made))

    def _weigh(self, digest: str) -> None:
        """Note the most that was in L1 after this call, in bytes of the stand-in's tensors: views count once."""
        alive = [tensor for each in self._held if (tensor := each()) is not None]
        self._held = [weakref.ref(tensor) for tensor in alive]
        storages = {
            shard.untyped_storage().data_ptr(): shard.untyped_storage().nbytes()
            for tensor in alive
            for shard in tensor.shards
        }
        self.live[digest] = max(self.live.get(digest, 0), sum(storages.values()))

    def say(self, value: Any) -> str:
        kind, digest = self._known.get(id(value), (None, ""))
        if kind is type(value):
            return digest
        if isinstance(value, self._device_type):
            return "device"
        if isinstance(value, torch.Tensor):
            content = value.detach().contiguous()
            bits = content.view(torch.int16) if content.dtype == torch.bfloat16 else content
            return f"torch:{value.dtype}:{tuple(value.shape)}:{hashlib.sha256(bits.numpy().tobytes()).hexdigest()[:16]}"
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self.say, value))}]"
        return repr(value)


class _Part:
    """A module, or a class of constants, of which what is looked up is recorded when it is called."""

    def __init__(self, recorder: Recorder, real: Any, path: str) -> None:
        self._recorder, self._real, self._path = recorder, real, path

    def __getattr__(self, name: str) -> Any:
        value, path = getattr(self._real, name), f"{self._path}.{name}"
        if name.startswith("__"):
            return value
        if isinstance(value, ModuleType) or name in ("experimental", "transformer", "device"):
            return _Part(self._recorder, value, path)
        if isinstance(value, type) and hasattr(value, "__members__"):  # an enum: its members are told by themselves
            return value
        if callable(value):
            return _Callable(self._recorder, value, path)
        return value


class _Callable:
    def __init__(self, recorder: Recorder, real: Any, path: str) -> None:
        self._recorder, self._real, self._path = recorder, real, path

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._recorder.call(self._path, self._real, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, self._real)


@contextmanager
def script(file: Path, ttnn: Any) -> Iterator[ModuleType]:
    """A script as a module, over another ttnn."""
    before = sys.modules.get("ttnn")
    sys.modules["ttnn"] = ttnn
    try:
        spec = importlib.util.spec_from_file_location("emitted", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        if before is None:
            del sys.modules["ttnn"]
        else:
            sys.modules["ttnn"] = before
