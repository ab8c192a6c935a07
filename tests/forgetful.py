"""Passes that forget what they should fold, to see that tests catch them."""

from __future__ import annotations

from compiler.dialects.aten import is_op, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Value
from passes.fold_batch_norm import FoldBatchNorm
from passes.fold_scale import FoldScale
from passes.rewrite import Match


class ForgetsScale(FoldScale):
    """Drops the factor that it should fold."""

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, before = match.nodes
        linear = node if is_op(node, ops.linear.default) else before
        return builder.emit(linear.op, match.values, dict(linear.attributes), [node.result.type], match.origins)


class ForgetsBatchNorm(FoldBatchNorm):
    """Drops the norm that it should fold."""

    def rewrite(self, builder: Builder, match: Match) -> tuple[Value, ...]:
        node, convolution = match.nodes
        kept = [(name, value) for name, value in match.values if not name.startswith("norm.")]
        return builder.emit(convolution.op, kept, dict(convolution.attributes), [node.result.type], match.origins)
