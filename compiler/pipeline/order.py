"""The order of the passes, from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.dialects.ttnn.program import Fidelity
from compiler.target.boards import MATRIX, PASSES, Board
from passes.add_to_table import AddToTable
from passes.base import Pass
from passes.cancel_permutes import CancelPermutes
from passes.canonicalize import Canonicalize
from passes.choose_blocks import ChooseBlocks
from passes.compose_linears import ComposeLinears
from passes.concat_heads import ConcatHeads
from passes.concatenate_linears import ConcatenateLinears
from passes.eliminate_common_subexpressions import EliminateCommonSubexpressions
from passes.eliminate_dead_code import EliminateDeadCode
from passes.flash_decode import FlashDecode
from passes.fold_attention_biases import DropKeyBias, FoldValueBias
from passes.fold_batch_norm import FoldBatchNorm
from passes.fold_constants import FoldConstants
from passes.fold_convolution_scale import FoldConvolutionScale
from passes.fold_padding import FoldPadding
from passes.fold_query_bias import FoldQueryBias
from passes.fold_scale import FoldScale
from passes.forward_row_through_relu import ForwardRowThroughRelu
from passes.fuse_activation import FuseActivation
from passes.fuse_attention import FuseAttention
from passes.fuse_bias import FuseBias
from passes.fuse_residual import FuseResidual
from passes.gather_relative_positions import GatherRelativePositions
from passes.heads_as_views import HeadsAsViews
from passes.keep_activated import KeepActivated
from passes.make_on_host import MakeOnHost
from passes.mask_by_index import MaskByIndex
from passes.merge_reshapes import MergeReshapes
from passes.narrow_weights import NarrowWeights
from passes.place_in_l1 import PlaceInL1
from passes.shard_convolutions import ShardConvolutions
from passes.shard_norms import ShardNorms
from passes.shard_stages import ShardStages
from passes.shard_weights import DramModel, ShardWeights
from passes.sink_narrows import SinkNarrows
from passes.sink_permutes import SinkPermutes
from passes.sink_reshapes import SinkReshapes
from passes.slice_after_view import SliceAfterView
from passes.split_concat import SplitConcat
from passes.split_heads import SplitHeads
from passes.stack_heads import StackHeads
from passes.width_shards import Grid

ATEN_PASSES: tuple[Pass, ...] = (
    EliminateDeadCode(),  # nodes of the trace that nobody reads
    Canonicalize(),  # one spelling per op, so that patterns need to know only one
    FoldConstants(),  # tables and their indices become constants
    EliminateCommonSubexpressions(),  # layers share masks and relative positions
    FoldScale(),  # the query's scale into its projection, dropout's scale into the next layer
    ConcatenateLinears(),  # frames and stop logits from one product
    FoldConstants(),  # its weights become constants
    FoldPadding(),  # padding and dropped columns go into weights
    SplitConcat(),  # the speaker's half of the prenet becomes invariant
    FoldConvolutionScale(),  # the mean over residual blocks, and the scale of a normalized input
    FoldBatchNorm(),  # the post-net's norms into its convolutions
    SliceAfterView(),  # rows past the end of speech are sliced off before the convolutions
    FoldConstants(),  # what folds wrote down over weights
    GatherRelativePositions(),  # one product per distance instead of one per pair of positions
    FuseAttention(),  # attention as one op, without scores in memory
    Canonicalize(),  # views that fusions left
    FoldConstants(),  # what folds wrote down over weights
    DropKeyBias(),  # softmax ignores it
    FoldValueBias(),  # moved behind attention, into the next linear
    FoldConstants(),  # their weights become constants
    ForwardRowThroughRelu(),  # the dropout rows of two layers are added once
    ComposeLinears(),  # the end of the prenet becomes one product
    FoldQueryBias(),  # so that cross-attention's query is one product per head
    FoldConstants(),  # their weights become constants
    AddToTable(),  # the speaker is added to the table of positions, outside the loop
    EliminateCommonSubexpressions(),  # masks that fusions wrote once per layer
)


WEIGHT_PASSES: Mapping[str, tuple[Pass, ...]] = {
    "bfloat16": (),
    "bfloat8_b": (NarrowWeights(include_boundary=True),),
    "mixed": (NarrowWeights(),),
}
"""Passes that store weights in fewer bits, by the option ``weights``."""


def ttnn_passes(board: Board, weights: str = "bfloat16") -> tuple[Pass, ...]:
    """Return the passes on TTNN graphs for a board's cores and memory; ``weights`` is a key of ``WEIGHT_PASSES``."""
    room = {"cores": int(board.cores.value), "l1_bytes": int(board.l1.value)}
    grid, banks = Grid(board.columns, board.rows), int(board.banks.value)
    return (
        CancelPermutes(),  # between convolutions, channels stay last
        SinkPermutes(),  # and so do sums and activations between them
        KeepActivated(),  # residuals are kept as convolutions read them
        FuseBias(),  # the row of the position becomes a bias
        FuseActivation(),  # one program instead of two
        FuseResidual(),  # a norm adds its residual
        StackHeads(banks, board.moved_per_program),  # cross-attention's keys and values of all layers from one product
        SplitHeads(),  # queries, keys and values from one product
        HeadsAsViews(banks),  # for one row, as views of that product
        ConcatHeads(),  # attention concatenates its heads
        MaskByIndex(),  # one mask of padding for all of the encoder's layers
        FlashDecode(int(board.cores.value)),  # optional: a cache's keys are spread over several cores
        EliminateCommonSubexpressions(),  # layers share masks, and the position converted for their caches
        SinkNarrows(banks),  # operations on the keys of each layer become one on all
        SinkReshapes(),  # rows keep the rank that attention gives them, without reshapes in between
        *WEIGHT_PASSES[weights],  # after all products are formed, before their bytes count
        MergeReshapes(),  # a permute to one channel moves nothing
        ShardStages(**room),  # values of an upsampling stage stay in the cores that make them
        ShardConvolutions(**room),  # values between convolutions stay in the cores' L1
        ShardNorms(grid),  # optional: norms of one row on many cores
        ShardWeights(grid, _dram_model(board)),  # optional: cores beside each DRAM bank read it
        PlaceInL1(**room),  # other intermediate results in L1, if they fit
        ChooseBlocks(),  # after linears have got their cores
        MakeOnHost(board.bytes_per_program),  # nodes that depend only on the host's inputs run there
    )


def _dram_model(board: Board) -> DramModel:
    """Return a board's rates, with products in the plan's compute configuration (HiFi4)."""
    by_readers = tuple((readers, rate.value) for readers, rate in board.dram_sharded.items())
    flops = MATRIX.value / PASSES[Fidelity.HIFI4] * board.clock.value
    return DramModel(int(board.banks.value), board.dram.value, by_readers, flops, board.gap)


OPTIONAL: frozenset[str] = frozenset({FlashDecode.name, ShardNorms.name, ShardWeights.name})
"""Names of passes that run only if ``PlanOptions.enable`` names them."""
ACCURACY: dict[str, str] = {FlashDecode.name: FlashDecode.accuracy}
"""Loss of accuracy of optional passes, by name. Other passes change no number, or only last digits."""
