"""Functions that tests send to the process in which ttnn runs. There, nothing of a test's own is at hand."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import torch

Report = Callable[[str], None]


def crash(executor: Any, report: Report, at: str) -> None:
    report(at)
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(executor: Any, report: Report, at: str, seconds: float) -> None:
    report(at)
    time.sleep(seconds)


def fail(executor: Any, report: Report) -> None:
    raise LookupError("a fault of ours")


def whereabouts(executor: Any, report: Report) -> tuple[int, int]:
    return os.getpid(), executor.replicas


def double(executor: Any, report: Report, tensor: torch.Tensor) -> torch.Tensor:
    return 2 * tensor


def _matrices(executor: Any, compiled: Any) -> list[int]:
    """Where on the device the encoder's constants are."""
    placed = executor.program(compiled.encoder).constants
    return [tensor.buffer_address() for tensor in placed if not isinstance(tensor, torch.Tensor)]


def places(executor: Any, report: Report, models: int) -> list[set[int]]:
    """Where an executor puts the matrices of the encoders of so many models, which name them alike."""
    from compiler import CompiledSpeechT5, CompileOptions
    from tests.fidelity.test_generate_speech import small
    from tests.models import lively

    made = []
    for seed in range(models):
        model = lively(small(encoder_layers=1, decoder_layers=1), seed=seed)
        compiled = CompiledSpeechT5(model, CompileOptions(precision="bfloat16"))
        placed = _matrices(executor, compiled)
        assert placed == _matrices(executor, compiled)
        made.append(set(placed))
    return made


def device_of(executor: Any, report: Report) -> Any:
    """What cannot leave its process."""
    return executor.device


def kept_in_blocks(executor: Any, report: Report, tensor: torch.Tensor) -> torch.Tensor:
    """What ttnn's conversion to bfloat8_b keeps of a tensor."""
    import ttnn

    held = ttnn.from_torch(tensor, dtype=ttnn.bfloat8_b, layout=ttnn.TILE_LAYOUT)
    return ttnn.to_torch(held).float()


def placed(executor: Any, report: Report, type: Any) -> str:
    """Where a tensor of a type is kept, in ttnn's words."""
    from compiler.device.tensors import memory_config

    return str(memory_config(type, executor.device))
