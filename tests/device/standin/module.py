"""The stand-in as a module: what the device executor takes for ttnn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.device.standin import computing, convolutions, moving, products, tensors
from tests.device.standin.tensors import Device
from tests.installed import installed

REAL = (
    *("bfloat16", "bfloat8_b", "float32", "uint32", "uint16", "int32", "TILE_LAYOUT", "ROW_MAJOR_LAYOUT"),
    *("DRAM_MEMORY_CONFIG", "L1_MEMORY_CONFIG", "MemoryConfig", "TensorMemoryLayout", "BufferType", "ShardSpec"),
    *("ShardOrientation", "CoreCoord", "CoreGrid", "num_cores_to_corerangeset", "device", "MathFidelity"),
    *("init_device_compute_kernel_config", "UnaryWithParam", "UnaryOpType", "Conv1dConfig", "SDPAProgramConfig"),
    *("MatmulMultiCoreReuseMultiCast1DProgramConfig", "MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig"),
    *("LayerNormShardedMultiCoreProgramConfig", "PlacementShard"),
)
"""What is taken from the installed ttnn: objects that need no device."""


MOVING = (
    *("permute", "expand", "concat", "pad", "to_memory_config", "to_layout", "typecast", "embedding", "gather"),
    *("reshape", "narrow", "plus_one"),
)
PRODUCTS = ("linear", "matmul")
CONVOLUTIONS = ("conv1d", "conv2d", "conv_transpose2d")
COMPUTING = ("layer_norm", "batch_norm", "softmax")


def stand_in() -> Any:
    """What stands in for the module ttnn. What it does not have raises ``AttributeError``."""
    real = {name: getattr(installed(), name) for name in REAL}
    ops = {name: getattr(moving, name) for name in MOVING} | {name: getattr(computing, name) for name in COMPUTING}
    ops |= {name: getattr(products, name) for name in PRODUCTS}
    ops |= {name: getattr(convolutions, name) for name in CONVOLUTIONS}
    ops |= {"slice": moving.slice_, "sum": computing.sum_} | computing.ELEMENTWISE
    host = (
        "from_torch",
        "to_device",
        "to_torch",
        "copy",
        "copy_host_to_device_tensor",
        "get_memory_view",
        "synchronize_device",
    )
    traces = ("begin_trace_capture", "end_trace_capture", "execute_trace", "release_trace")
    return SimpleNamespace(
        **real,
        **ops,
        **{name: getattr(tensors, name) for name in (*host, *traces)},
        ReplicateTensorToMesh=tensors.replicate,
        ShardTensorToMesh=tensors.shard,
        ConcatMeshToTensor=tensors.Composer,
        TensorTopology=tensors.Topology,
        graph=Record(),
        experimental=SimpleNamespace(
            view=moving.view_,
            nlp_create_qkv_heads=moving.nlp_create_qkv_heads,
            indexed_fused_update_cache=moving.indexed_fused_update_cache,
        ),
        transformer=SimpleNamespace(
            scaled_dot_product_attention=computing.scaled_dot_product_attention,
            scaled_dot_product_attention_decode=computing.scaled_dot_product_attention_decode,
        ),
    )


class Record:
    """What ``ttnn.graph`` records: nothing here, as the stand-in has no programs to count."""

    RunMode = SimpleNamespace(NORMAL="normal")

    def begin_graph_capture(self, mode: str) -> None:
        pass

    def end_graph_capture(self) -> list[Any]:
        return []

    def extract_resource_usage_per_core(self, record: list[Any]) -> Any:
        return SimpleNamespace(peak_total=0)


def executor_on(board: str, replicas: int = 1, *, traced: bool = False) -> Any:
    """The device executor on a stand-in for so many devices of a board."""
    from dataclasses import replace

    from compiler.device import executor
    from compiler.target.boards import BOARDS

    spec = replace(BOARDS[board].device, replicas=replicas)
    return executor.TtnnExecutor(stand_in(), Device(spec), traced=traced)
