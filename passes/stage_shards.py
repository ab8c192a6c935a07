"""The rewrite of an upsampling network's stages, so that their values stay in shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler.dialects.aten import derive, ops
from compiler.dialects.ttnn.elementwise import ELEMENTWISE
from compiler.dialects.ttnn.height_convolution import conv2d
from compiler.dialects.ttnn.inference import emit
from compiler.dialects.ttnn.op import TtnnOp
from compiler.dialects.ttnn.program import program
from compiler.dialects.ttnn.shape import reshape, to_memory_config
from compiler.dialects.ttnn.transposed_convolution import conv_transpose2d
from compiler.ir.builder import Builder, without_dead_nodes
from compiler.ir.graph import Graph, Node, Value
from compiler.ir.operation import Attribute
from compiler.ir.settings import Placement
from passes.rewrite import expression_of
from passes.stages import DRAM, SHARDED, Stage, blocked, is_free, rows_of


@dataclass
class StageShards:
    """Writes a graph anew with its stages in shards."""

    source: Graph
    stages: Mapping[int, Stage]
    builder: Builder = field(init=False)
    known: dict[tuple[Value, int], Value] = field(default_factory=dict)
    """Values that were brought into shards, by themselves and the shards."""
    views: dict[Value, Value] = field(default_factory=dict)
    """What views in shards are views of."""

    def __post_init__(self) -> None:
        self.builder = Builder.on(self.source)

    def graph(self) -> Graph:
        for node in self.source.nodes:
            stage = self.stages.get(rows_of(node.result.type)) if len(node.results) == 1 else None
            if stage is not None and node in stage.nodes:
                self.builder.mapping[node.result] = self._node(node, stage)
            elif is_free(node) and self._current(node.operands[0]).type.memory is SHARDED:
                self.builder.mapping[node.result] = self._viewed(
                    self._current(node.operands[0]), node.result.type.shape, node
                )
            else:
                self._outside(node)
        source = self.source
        return without_dead_nodes(self.builder.graph(source.name, source.inputs, source.outputs))

    def _current(self, value: Value) -> Value:
        return self.builder.mapping.get(value, value)

    def _viewed(self, value: Value, shape: tuple[int, ...], node: Node) -> Value:
        """A value in shards under another shape: of what it is a view of."""
        value = self.views.get(value, value)
        if value.type.shape == shape:
            return value
        placement = Placement(shards=value.type.shards)
        made = emit(self.builder, reshape, {"input_tensor": value}, {"shape": shape}, node.origins, placement)
        self.views[made] = value
        return made

    def _node(self, node: Node, stage: Stage) -> Value:
        assert isinstance(node.op, TtnnOp)
        stays = self._stays(node.result)
        if node.op in ELEMENTWISE:
            shape = node.result.type.shape
            operands = {
                name: self._sharded(value, stage.shards, node)
                if stays and self._is_made(value) and value.type.shape == shape
                else self._current(value)
                for name, value in zip(node.names, node.operands, strict=True)
            }
            where = _placed(node, stage.shards if stays else None)
            return emit(self.builder, node.op, operands, dict(node.attributes), node.origins, where, program(node))
        up = node.op is conv_transpose2d
        shards = stage.upsampled if up else stage.shards
        _, block = min(blocked(node, stage))
        told = program(node).with_(act_block_h_override=block, reallocate_halo_output=False)
        operands = dict(zip(node.names, map(self._current, node.operands), strict=True))
        operands["input_tensor"] = self._sharded(node["input_tensor"], shards, node)
        attributes: dict[str, Attribute] = dict(node.attributes)
        if not up:
            operands, attributes = self._over_height(node, operands, attributes)
        where, op = _placed(node, shards if stays else None), conv_transpose2d if up else conv2d
        made = emit(self.builder, op, operands, attributes, node.origins, where, told)
        if up and stays and shards != stage.shards:
            anew = Placement(memory=SHARDED, shards=stage.shards)
            made = emit(self.builder, to_memory_config, {"tensor": made}, {}, node.origins, anew)
        return made

    def _over_height(
        self, node: Node, operands: dict[str, Value], attributes: dict[str, Attribute]
    ) -> tuple[dict[str, Value], dict[str, Attribute]]:
        """The operands and attributes of a convolution over the height in place of ``conv1d``."""
        rows, weight = operands["input_tensor"], node["weight_tensor"]
        flat = (1, 1, rows_of(rows.type), rows.type.shape[-1])
        operands["input_tensor"] = self._viewed(rows, flat, node)
        expression = expression_of(self.builder, self._current(weight))
        sizes = (*weight.type.shape, 1)
        viewed, _ = derive(expression, weight.type, ops.view.default, {"size": sizes})
        operands["weight_tensor"] = self.builder.constant(viewed, weight.type.with_(shape=sizes))
        length = attributes.pop("input_length")
        pairs: dict[str, Attribute] = {
            name: (attributes[name], idle)
            for name, idle in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
        }
        return operands, {**attributes, **pairs, "input_height": length, "input_width": 1}

    def _sharded(self, value: Value, shards: int, node: Node) -> Value:
        """A value in shards on so many cores: as it is where it is, and else brought there once."""
        current = self._current(value)
        if current.type.memory is SHARDED and current.type.shards == shards:
            return current
        if (current, shards) not in self.known:
            where = Placement(memory=SHARDED, shards=shards)
            self.known[current, shards] = emit(
                self.builder, to_memory_config, {"tensor": current}, {}, node.origins, where
            )
        return self.known[current, shards]

    def _is_made(self, value: Value) -> bool:
        """Whether a value lies in shards by now."""
        return self._current(value).type.memory is SHARDED

    def _stays(self, value: Value) -> bool:
        """Whether all that reads a value, under whatever shape, takes shards."""
        if value in self.source.returned:
            return False
        readers = self.source.users.get(value, ())
        return all(
            any(node in stage.nodes for stage in self.stages.values()) or (is_free(node) and self._stays(node.result))
            for node in readers
        )

    def _outside(self, node: Node) -> None:
        """A node of no stage: what it reads is in DRAM again."""
        if any(self._is_made(value) for value in node.operands):
            current: Any = node.with_operands(self.builder.mapping)
            raise AssertionError(f"{current.op.name} reads shards")
        self.builder.copy(node)


def _placed(node: Node, shards: int | None) -> Placement:
    """Where a node's result goes: to so many shards, or to DRAM."""
    return node.placement.with_(memory=DRAM if shards is None else SHARDED, shards=shards)
