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


def hang_with_the_lock(executor: Any, report: Report, at: str, seconds: float) -> None:
    """Hang in native code, with Python's lock held: no other thread runs, and no signal is heard."""
    import ctypes

    report(at)
    ctypes.PyDLL(None).sleep(int(seconds))


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

    made, alive = [], []  # weights go with the last graph that reads them, and their place may be another's then
    for seed in range(models):
        model = lively(small(encoder_layers=1, decoder_layers=1), seed=seed)
        compiled = CompiledSpeechT5(model, CompileOptions(precision="bfloat16"))
        placed = _matrices(executor, compiled)
        assert placed == _matrices(executor, compiled)
        made.append(set(placed))
        alive.append(compiled)
    return made


def device_of(executor: Any, report: Report) -> Any:
    """What cannot leave its process."""
    return executor.device


def kept_in_blocks(executor: Any, report: Report, tensor: torch.Tensor) -> torch.Tensor:
    """What ttnn's conversion to bfloat8_b keeps of a tensor."""
    import ttnn

    held = ttnn.from_torch(tensor, dtype=ttnn.bfloat8_b, layout=ttnn.TILE_LAYOUT)
    return ttnn.to_torch(held).float()


def stored(executor: Any, report: Report, shape: tuple[int, ...]) -> bytes:
    """The bytes, in tiles, of the numbers from 0 on in a shape."""
    import numpy
    import ttnn

    numbers = torch.arange(torch.Size(shape).numel()).view(shape).float()
    tensor = ttnn.from_torch(numbers, dtype=ttnn.float32, layout=ttnn.TILE_LAYOUT)
    return numpy.from_dlpack(tensor.host_buffer().get_shard(ttnn.MeshCoordinate(0, 0))).tobytes()


def narrowed(executor: Any, report: Report, rounds: int) -> tuple[int, int]:
    """The banks of DRAM, and how far into each a part lies that leaves out so many rounds of tiles."""
    import ttnn

    banks = ttnn.get_memory_view(executor.device, ttnn.BufferType.DRAM).num_banks
    tensor = ttnn.zeros((1, 2 * rounds * banks, 1, 32), ttnn.bfloat16, ttnn.TILE_LAYOUT, executor.device)
    part = ttnn.narrow(tensor, 1, rounds * banks, rounds * banks)
    return banks, part.buffer_address() - tensor.buffer_address()


def dram_grid(executor: Any, report: Report) -> dict[str, list[int]]:
    """The banks of DRAM, as shards are dealt out over them."""
    grid = executor.device.dram_grid_size()
    return {"dram_grid": [grid.x, grid.y]}


def placed(executor: Any, report: Report, type: Any) -> str:
    """Where a tensor of a type is kept, in ttnn's words."""
    from compiler.dialects.ttnn.memory_configs import memory_config

    return str(executor.binder.live(memory_config(type, executor.binder.spec)))


def after_lengths(executor: Any, report: Report, lengths: list[int]) -> list[tuple[int, int, int]]:
    """After the post-net of each exact length in turn: how many are made ready, and the DRAM in use in a bank.

    Each is compiled when its length is asked for, as an utterance does it. Third is how much of that DRAM ttnn gave
    back with its programs, which it keeps for all lengths: their binaries, of whatever size the kernels are.
    """
    import gc

    from compiler import CompiledSpeechT5, CompileOptions
    from tests.fidelity.test_generate_speech import small
    from tests.models import lively

    compiled = CompiledSpeechT5(lively(small()), CompileOptions(precision="bfloat16", postnet="exact"))
    gc.collect()  # what other tests left is no part of the count
    others, found = set(executor._programs), []
    for steps in lengths:
        report(f"{steps} steps")
        graph = compiled.graph("postnet", steps=steps)
        type = graph.graph.input("spectrogram").type
        executor.run(graph, {"spectrogram": executor.load(torch.zeros(type.shape), type)})
        del graph
        held = _dram(executor)
        executor.device.clear_program_cache()
        found.append((len(set(executor._programs) - others), held, held - _dram(executor)))
    return found


def _dram(executor: Any) -> int:
    """The DRAM in use in a bank, in bytes."""
    import ttnn

    memory = ttnn.get_memory_view(executor.device, ttnn.BufferType.DRAM)
    return int(memory.total_bytes_allocated_per_bank)


def after_closing(executor: Any, report: Report) -> list[tuple[int, int, int]]:
    """Graphs made ready, weights placed, DRAM in use in a bank: before a model ran, after, and after it was closed."""
    import gc

    import ttnn

    from compiler import CompiledSpeechT5, CompileOptions
    from tests.fidelity.test_generate_speech import small
    from tests.models import lively

    def count() -> tuple[int, int, int]:
        gc.collect()
        memory = ttnn.get_memory_view(executor.device, ttnn.BufferType.DRAM)
        return len(executor._programs), len(executor._weights), memory.total_bytes_allocated_per_bank

    counts = [count()]
    with CompiledSpeechT5(lively(small()), CompileOptions(precision="bfloat16")) as compiled:
        for steps in (1, 70):
            report(f"{steps} steps")
            graph = compiled.graph("postnet", steps=steps)
            types = {port.name: port.value.type for port in graph.graph.inputs}
            executor.run(graph, {name: executor.load(torch.zeros(t.shape), t) for name, t in types.items()})
        counts.append(count())
        del graph
    return [*counts, count()]


def prepared(
    executor: Any, report: Report, weight: torch.Tensor, bias: torch.Tensor
) -> list[tuple[tuple[int, ...], str]]:
    """Shapes and types of what ttnn makes of a convolution's weight and bias for bfloat8_b."""
    import ttnn

    out, inner, taps = weight.shape
    _, made = ttnn.conv1d(
        input_tensor=ttnn.from_torch(
            torch.zeros(1, 64, inner), dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=executor.device
        ),
        weight_tensor=ttnn.from_torch(weight, dtype=ttnn.float32),
        bias_tensor=ttnn.from_torch(bias, dtype=ttnn.float32),
        device=executor.device,
        in_channels=inner,
        out_channels=out,
        batch_size=1,
        input_length=64,
        kernel_size=taps,
        stride=1,
        padding=taps // 2,
        conv_config=ttnn.Conv1dConfig(weights_dtype=ttnn.bfloat8_b, config_tensors_in_dram=True),
        return_weights_and_bias=True,
    )
    return [(tuple(tensor.shape), str(tensor.dtype)) for tensor in made]


def attention_configs(executor: Any, report: Report, plan: Any) -> list[tuple[Any, ...]]:
    """What ttnn is told of each attention of a plan: which exponential, chunks of queries and keys, and the grid."""
    from compiler.dialects.ttnn.program_configs import program_config

    found = []
    for node in plan.executable().graph.nodes:
        if node.op.name == "ttnn.transformer.scaled_dot_product_attention":
            config = executor.binder.live(program_config(node, executor.binder.spec))
            grid = config.compute_with_storage_grid_size
            found.append((config.exp_approx_mode, config.q_chunk_size, config.k_chunk_size, (grid.x, grid.y)))
    return found
