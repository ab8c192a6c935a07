"""The order of the passes, read top to bottom, and the walk of one graph through it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import lowering.rules
from compiler.choices import advice, one_of
from compiler.errors import InvalidArgument, InvalidGraph
from compiler.ir.graph import Graph, Node
from compiler.ir.operation import Stage
from compiler.ir.types import DType
from compiler.ir.verify import verify
from compiler.target.boards import BOARDS, MATRIX, PASSES, Board
from compiler.target.options import PlanOptions
from passes import base, rewrite
from passes.add_to_table import AddToTable
from passes.base import CANONICAL, FOLDED, Pass, Property
from passes.cancel_permutes import CancelPermutes
from passes.canonicalize import Canonicalize
from passes.carry_row import CarryRow
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
from passes.read_front import read_front
from passes.rewrite import Matcher
from passes.shard_convolutions import ShardConvolutions
from passes.shard_norms import ShardNorms
from passes.shard_stages import ShardStages
from passes.shard_weights import Pace, ShardWeights
from passes.sink_permutes import SinkPermutes
from passes.slice_after_view import SliceAfterView
from passes.split_concat import SplitConcat
from passes.split_heads import SplitHeads
from passes.stack_heads import StackHeads
from passes.widen_parts import WidenParts
from passes.width_shards import Grid

ATEN_PASSES: tuple[Pass, ...] = (
    EliminateDeadCode(),  # what the trace brought in for nobody
    Canonicalize(),  # one spelling for each op, so that patterns need to know only one
    FoldConstants(),  # tables and their indices become constants
    EliminateCommonSubexpressions(),  # layers share masks and relative positions
    FoldScale(),  # the query's scale goes into its projection, dropout's into the next layer
    ConcatenateLinears(),  # frames and stops are one product
    FoldConstants(),  # its weights
    FoldPadding(),  # what only fills tiles, or leaves columns out, goes into weights
    SplitConcat(),  # the speaker's half of the prenet leaves the loop
    FoldConvolutionScale(),  # the mean over residual blocks, and the scale of a normalized input
    FoldBatchNorm(),  # the post-net's norms go into its convolutions
    SliceAfterView(),  # what stands behind speech in a cache is cut off on the way to them
    FoldConstants(),  # what folds wrote down over weights
    GatherRelativePositions(),  # a distance is multiplied once, not in each pair of positions
    FuseAttention(),  # scores are not written to memory
    Canonicalize(),  # views that fusions left between ops
    FoldConstants(),  # what folds wrote down over weights
    DropKeyBias(),  # softmax does
    FoldValueBias(),  # out of attention, into what follows
    FoldConstants(),  # what they wrote down
    CarryRow(),  # what dropout drops in two layers is looked up and added once
    ComposeLinears(),  # the end of the prenet is one product
    FoldQueryBias(),  # so that cross-attention's query is one product a head
    FoldConstants(),  # what the folds since then wrote down
    AddToTable(),  # the speaker joins the positions' table, outside the loop
    EliminateCommonSubexpressions(),  # masks that fusions wrote once a layer
)


WEIGHT_PASSES: Mapping[str, tuple[Pass, ...]] = {
    "bfloat16": (),
    "bfloat8_b": (NarrowWeights(edges=True),),
    "mixed": (NarrowWeights(),),
}
"""What stores the matrices of products in fewer bits, by the option ``weights``."""


def ttnn_passes(board: Board, weights: str = "bfloat16") -> tuple[Pass, ...]:
    """The passes on TTNN graphs, with the cores and the memory of a board. ``weights`` is one of ``WEIGHT_PASSES``."""
    room = {"cores": int(board.cores.value), "l1_bytes": int(board.l1.value)}
    grid, banks = Grid(board.columns, board.rows), int(board.banks.value)
    return (
        CancelPermutes(),  # convolutions hand on channels as the device wants them
        SinkPermutes(),  # and so does what is computed between them
        KeepActivated(),  # residuals are kept as convolutions read them
        FuseBias(),  # a position's row comes in as a bias
        FuseActivation(),  # one device program instead of two
        FuseResidual(),  # a norm adds its residual itself
        StackHeads(banks, board.moved_per_program),  # keys and values of all layers from one product
        SplitHeads(),  # queries, keys and values from one product
        HeadsAsViews(banks),  # and, of one row, read where they are
        ConcatHeads(),  # attention lays its heads side by side itself
        MaskByIndex(),  # padding is masked once for all of the encoder's layers
        FlashDecode(int(board.cores.value)),  # optional: keys of a cache are dealt out to several cores
        EliminateCommonSubexpressions(),  # layers share masks, and the position in the form that their caches take
        WidenParts(banks),  # and what is done to the keys of each
        *WEIGHT_PASSES[weights],  # once it is clear which products there are, and before their bytes count
        MergeReshapes(),  # a convolution to one channel ends in a permute that moves nothing
        ShardStages(**room),  # what passes between convolutions of an upsampling network stays where it is made
        ShardConvolutions(**room),  # what passes between convolutions stays where they leave it
        ShardNorms(grid),  # optional: a row is normalized on many cores
        ShardWeights(grid, _pace(board)),  # optional: each bank of DRAM is read from beside it
        PlaceInL1(**room),  # and what passes between other ops stays on the chip where it fits
        ChooseBlocks(),  # once linears name their cores
        MakeOnHost(board.bytes_per_program),  # what depends on nothing but the host's inputs is made there
    )


def _pace(board: Board) -> Pace:
    """What a board does in a second, its products being those of the plan's compute configuration."""
    by_readers = tuple((readers, rate.value) for readers, rate in board.dram_sharded.items())
    flops = MATRIX.value / PASSES["hifi4"] * board.clock.value
    return Pace(int(board.banks.value), board.dram.value, by_readers, flops, board.gap)


OPTIONAL: frozenset[str] = frozenset({FlashDecode.name, ShardNorms.name, ShardWeights.name})
"""Names of passes that run only where ``PlanOptions.enable`` has them."""
ACCURACY: dict[str, str] = {FlashDecode.name: FlashDecode.accuracy}
"""What optional passes cost in accuracy; the others change no number, or none but in its last digits."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one stage made: for tables and for inspection. ``step`` is the pass, where the stage is one."""

    stage: str
    graph: Graph
    seconds: float
    step: Pass | None = None


def looks_for_patterns(record: Record) -> bool:
    """Whether a stage is a pass that looks for patterns, and can say what it nearly matched."""
    return isinstance(record.step, Matcher)


def near_misses(record: Record) -> list[tuple[Node, str]]:
    """The nodes at which a stage's pattern began to match in the graph that it left, and why it did not."""
    return rewrite.near_misses(record.step, record.graph) if isinstance(record.step, Matcher) else []


def accuracy_of(record: Record) -> str | None:
    """What a stage costs in accuracy where it matches, for a pass that makes the plan less accurate."""
    return None if record.step is None else base.accuracy_of(record.step)


def split_loop(graph: Graph, once: str) -> tuple[Graph, Graph]:
    """Split a loop's body into the graph called ``once``, of what never changes in it, and the rest."""
    return hoist_invariants(graph, once)


def read_prefix(graph: Graph, name: str, dim: int, size: int) -> Graph:
    """Let an input have ``size`` elements along ``dim``, of which the graph reads the first as before."""
    return read_front(graph, name, dim, size)


def looked_up(graph: Graph) -> frozenset[str]:
    """The names of an ATen graph's inputs in which it looks up rows, and with which it does nothing else."""
    return lowering.rules.table_inputs(graph)


def lowered_ops() -> list[str]:
    """The names of the ATen overloads that have a lowering."""
    return [str(overload) for overload in lowering.rules.RULES]


@dataclass
class Recorder:
    """Collects a record a stage. A callback between passes, and nothing that they know of."""

    records: list[Record] = field(default_factory=list)

    def timed(self, stage: str, work: Callable[[], Graph], step: Pass | None = None) -> Graph:
        begin = time.perf_counter()
        graph = work()
        self.records.append(Record(stage, graph, time.perf_counter() - begin, step))
        return graph


def run_passes(
    graph: Graph, passes: Sequence[Pass], stage: Stage, recorder: Recorder | None = None, verify_each: bool = True
) -> Graph:
    """Run passes in order, checking what each requires before it, and the graph and what it ensures after it.

    Raises ``InvalidGraph`` naming the pass, the rule or the property that is broken, and the passes that ran before;
    with ``verify_each`` off nothing is checked.
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
                verify(graph, stage, after=step.name)
            _check(graph, step.ensures, f"pass {step.name} ensures it", ran)
    return graph


def passes_of(stage: Stage, board: str = "n150", weights: str = "bfloat16") -> tuple[Pass, ...]:
    """All passes of a stage in their order, the optional ones with them. Raises ``InvalidArgument``."""
    one_of("board", board, tuple(BOARDS))
    one_of("weights", weights, tuple(WEIGHT_PASSES))
    return ATEN_PASSES if stage is Stage.ATEN else ttnn_passes(BOARDS[board], weights)


LOWERABLE = (CANONICAL, FOLDED)
"""What lowering asks of a graph."""


def check_order(passes: Sequence[Pass], wanted: Sequence[Property] = ()) -> None:
    """Raise ``InvalidGraph`` where a pass requires what no pass before it ensures, or none ensures what is wanted."""
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
    """The passes of one plan: on ATen graphs, and on the TTNN graphs that these are lowered to."""

    aten: tuple[Pass, ...] = ATEN_PASSES
    ttnn: tuple[Pass, ...] = tuple(step for step in ttnn_passes(BOARDS["n150"]) if step.name not in OPTIONAL)

    @classmethod
    def of(cls, options: PlanOptions) -> Pipeline:
        """What runs under these options.

        Raises ``InvalidArgument`` for a pass left out that others cannot do without.
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
        """An imported graph after the ATen passes."""
        return run_passes(graph, self.aten, Stage.ATEN, recorder)

    def lower(
        self, graph: Graph, dtype: DType, recorder: Recorder | None = None, tables: Collection[str] = frozenset()
    ) -> Graph:
        """From an ATen graph with its passes run to a TTNN graph with its passes run.

        ``tables`` names the outputs that another graph looks rows up in. Raises ``UnsupportedOperation``.
        """
        recorder = recorder or Recorder()
        _check(graph, LOWERABLE, "lowering requires it", [step.name for step in self.aten])
        lowered = recorder.timed("lower", lambda: lowering.rules.lower(graph, dtype, tables))
        verify(lowered, Stage.TTNN, after="lower")
        return run_passes(lowered, self.ttnn, Stage.TTNN, recorder)


def selected(passes: Sequence[Pass], names: Sequence[str] | None, until: str | None) -> tuple[Pass, ...]:
    """Choose passes by name, in the order of the names; by default those that run without being asked for.

    ``until`` is the last to run, at its first place; it is there, too, where it is optional. Raises ``InvalidArgument``
    for the name of none of ``passes``.
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
