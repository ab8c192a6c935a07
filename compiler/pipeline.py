"""Define the order of the passes, from top to bottom, and run a graph through them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc

import lowering.rules
from compiler.choices import advice, one_of
from compiler.dialects.ttnn.program import Fidelity
from compiler.errors import InvalidArgument, InvalidGraph
from compiler.ir.check import check_graph
from compiler.ir.graph import Graph, Node
from compiler.ir.operation import Stage
from compiler.ir.stages import HOISTED, IMPORT, LOWER, READ_PREFIX, Record, Recorder
from compiler.ir.types import DType
from compiler.target.boards import BOARDS, MATRIX, PASSES, Board
from compiler.target.options import PlanOptions
from passes import base, rewrite
from passes import read_prefix as prefixes
from passes.add_to_table import AddToTable
from passes.base import CANONICAL, FOLDED, Pass, Property
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
from passes.hoist_invariants import hoist_invariants
from passes.keep_activated import KeepActivated
from passes.make_on_host import MakeOnHost
from passes.mask_by_index import MaskByIndex
from passes.merge_reshapes import MergeReshapes
from passes.narrow_weights import NarrowWeights
from passes.place_in_l1 import PlaceInL1
from passes.rewrite import Matcher
from passes.shard_convolutions import ShardConvolutions
from passes.shard_norms import ShardNorms
from passes.shard_stages import ShardStages
from passes.shard_weights import DramModel, ShardWeights
from passes.sink_narrows import SinkNarrows
from passes.sink_permutes import SinkPermutes
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


_ABOUT: Mapping[str, tuple[str, ...]] = {
    IMPORT: ("Import the traced program at its lengths.",),
    READ_PREFIX: ("Read a prefix of an input that is longer.",),
    HOISTED: ("Move what each step of a loop would compute alike into a graph that runs once.",),
    LOWER: ("Lower each ATen op to TTNN ops.",),
}


def about(record: Record) -> tuple[str, ...]:
    """Return what a stage does, in a sentence, followed by what its documentation says beside; empty if unknown.

    Diagrams are left out.
    """
    if record.step is None:
        return _ABOUT.get(record.stage, ())
    paragraphs = cleandoc(record.step.__doc__ or "").split("\n\n")
    return tuple(" ".join(text.split()) for text in paragraphs if not text.startswith((" ", "::")))


def looks_for_patterns(record: Record) -> bool:
    """Return whether a stage is a fusion, which can report near misses."""
    return isinstance(record.step, Matcher)


def near_misses(record: Record) -> list[tuple[Node, str]]:
    """Return a stage's near misses in the graph that it left: nodes with reasons."""
    return rewrite.near_misses(record.step, record.graph) if isinstance(record.step, Matcher) else []


def matches(record: Record, before: Graph) -> int:
    """Return how often a stage's pattern matched, ``before`` being the graph that it was given; 0 for other stages."""
    return len(rewrite.matches(record.step, before)) if isinstance(record.step, Matcher) else 0


def accuracy_of(record: Record) -> str | None:
    """Return what a pass costs in accuracy if it matches; ``None`` for a stage that costs none."""
    return None if record.step is None else base.accuracy_of(record.step)


def split_loop(graph: Graph, once: str) -> tuple[Graph, Graph]:
    """Split a loop's body into the graph ``once``, with the loop-invariant nodes, and the rest."""
    return hoist_invariants(graph, once)


def read_prefix(graph: Graph, name: str, dim: int, size: int) -> Graph:
    """Lengthen an input to ``size`` elements along ``dim``, of which the graph reads a prefix of the former size."""
    return prefixes.read_prefix(graph, name, dim, size)


def looked_up(graph: Graph) -> frozenset[str]:
    """Return the names of an ATen graph's inputs that it uses only to look up rows."""
    return lowering.rules.table_inputs(graph)


def lowered_ops() -> list[str]:
    """Return the names of the ATen overloads that have a lowering."""
    return [str(overload) for overload in lowering.rules.RULES]


def run_passes(
    graph: Graph, passes: Sequence[Pass], stage: Stage, recorder: Recorder | None = None, verify_each: bool = True
) -> Graph:
    """Run passes in order. Before each, check what it requires; after each, verify the graph and what it ensures.

    Raises ``InvalidGraph``, which names the pass, the broken rule or property, and the passes that ran. Without
    ``verify_each`` nothing is checked.
    """
    recorder = recorder or Recorder()
    ran: list[str] = []
    for step in passes:
        if verify_each:
            _check(graph, step.requires, f"pass {step.name} requires it", ran)
        before = graph
        graph = recorder.timed(step.name, lambda step=step, before=before: step.run(before), step)  # type: ignore[misc]
        ran.append(step.name)
        if verify_each:
            if graph is not before:
                check_graph(graph, stage, after=step.name)
            _check(graph, step.ensures, f"pass {step.name} ensures it", ran)
    return graph


def passes_of(stage: Stage, board: str = "n150", weights: str = "bfloat16") -> tuple[Pass, ...]:
    """Return all passes of a stage in order, optional ones included. Raises ``InvalidArgument`` for unknown names."""
    one_of("board", board, tuple(BOARDS))
    one_of("weights", weights, tuple(WEIGHT_PASSES))
    return ATEN_PASSES if stage is Stage.ATEN else ttnn_passes(BOARDS[board], weights)


LOWERABLE = (CANONICAL, FOLDED)
"""Properties that lowering requires of a graph."""


def check_order(passes: Sequence[Pass], wanted: Sequence[Property] = ()) -> None:
    """Raise ``InvalidGraph`` if no earlier pass ensures what a pass requires, or if no pass ensures what is wanted."""
    ensured: set[Property] = set()
    for step in passes:
        missing = [p.name for p in step.requires if p not in ensured]
        if missing:
            raise InvalidGraph(f"pass {step.name} requires {', '.join(missing)}, which no pass before it ensures")
        ensured.update(step.ensures)
    if missing := [p.name for p in wanted if p not in ensured]:
        raise InvalidGraph(f"lowering requires {', '.join(missing)}, which no pass ensures")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The passes of one plan: on ATen graphs, and on the lowered TTNN graphs."""

    aten: tuple[Pass, ...] = ATEN_PASSES
    ttnn: tuple[Pass, ...] = tuple(step for step in ttnn_passes(BOARDS["n150"]) if step.name not in OPTIONAL)

    @classmethod
    def of(cls, options: PlanOptions) -> Pipeline:
        """Return the pipeline for these options.

        Raises ``InvalidArgument`` if a pass is disabled that others require.
        """
        board = BOARDS[options.board]
        left_out = {*options.disable, *(OPTIONAL - set(options.enable))}
        both = ATEN_PASSES, ttnn_passes(board, options.weights)
        aten, ttnn = (tuple(step for step in passes if step.name not in left_out) for passes in both)
        try:
            check_order(aten, LOWERABLE)
            check_order(ttnn)
        except InvalidGraph as error:
            raise InvalidArgument(f"disable={', '.join(options.disable)}: {error}") from None
        return cls(aten, ttnn)

    def optimize(self, graph: Graph, recorder: Recorder | None = None) -> Graph:
        """Run the ATen passes on an imported graph."""
        return run_passes(graph, self.aten, Stage.ATEN, recorder)

    def lower(
        self, graph: Graph, dtype: DType, recorder: Recorder | None = None, tables: Collection[str] = frozenset()
    ) -> Graph:
        """Lower an optimized ATen graph to a TTNN graph, and run the TTNN passes.

        ``tables`` names the outputs in which another graph looks up rows. Raises ``UnsupportedOperation`` for ops
        without a lowering.
        """
        recorder = recorder or Recorder()
        _check(graph, LOWERABLE, "lowering requires it", [step.name for step in self.aten])
        lowered = recorder.timed(LOWER, lambda: lowering.rules.lower(graph, dtype, tables))
        check_graph(lowered, Stage.TTNN, after="lower")
        return run_passes(lowered, self.ttnn, Stage.TTNN, recorder)


def selected(passes: Sequence[Pass], names: Sequence[str] | None, until: str | None) -> tuple[Pass, ...]:
    """Select passes by name, in the order of the names; by default all that are not optional.

    ``until`` is the last pass to run, at its first occurrence, even if it is optional. Raises ``InvalidArgument`` for a
    name that is not among ``passes``.
    """
    by_name = {step.name: step for step in passes}
    for name in (*(names or ()), *([until] if until else ())):
        if name not in by_name:
            raise InvalidArgument(f"there is no pass {name!r} at this stage: {advice(name, by_name)}")
    chosen = tuple(step for step in passes if step.name not in OPTIONAL or step.name == until)
    if names is not None:
        chosen = tuple(by_name[name] for name in names)
    if until is None:
        return chosen
    places = [i for i, step in enumerate(chosen) if step.name == until]
    if not places:
        raise InvalidArgument(f"the passes that were asked for end without {until!r}")
    return chosen[: places[0] + 1]


def _check(graph: Graph, properties: Sequence[Property], why: str, ran: Sequence[str]) -> None:
    for promised in properties:
        violations = list(promised.violations(graph))
        if violations:
            raise InvalidGraph(
                f"graph {graph.name!r} is not {promised.name}, and {why}: {'; '.join(violations)}. "
                f"Passes that ran: {', '.join(ran) or 'none'}"
            )
