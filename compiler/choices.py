"""List the names that a caller can choose. Imports nothing heavy, so that a wrong name is refused at once."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, get_args

from compiler.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Board = Literal["n150", "n300", "p150", "p100"]
BOARDS: tuple[str, ...] = get_args(Board)
"""Tenstorrent boards. A plan is made for the cores and the memory of one. It also fits boards that have no fewer cores
and the same number of DRAM banks."""

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
"""Float types of a plan. float32 runs on the reference executor only: ttnn refuses it in attention and caches."""

Weights = Literal["bfloat16", "bfloat8_b", "mixed"]
WEIGHTS: tuple[str, ...] = get_args(Weights)
"""How a bfloat16 plan stores the weights of products and convolutions; bfloat8_b needs 17 bytes instead of 32."""

Postnet = Literal["bucket", "exact", "chunks"]
POSTNETS: tuple[str, ...] = get_args(Postnet)
"""Length of the post-net: that of a bucket, with masks past each row's end, the exact length of the speech, or that of
a few windows, of which speech of any length is made."""

GraphName = Literal[
    "encoder", "utterance", "decoder_step", "utterance_attentions", "decoder_step_attentions", "postnet"
]
GRAPHS: tuple[str, ...] = get_args(GraphName)
"""Graphs of a compiled model, in the order in which an utterance runs them.

The two that end in ``attentions`` replace the two before them when cross-attentions are requested.
"""
VocoderGraphName = Literal["vocoder", "short_vocoder"]
VOCODER_GRAPHS: tuple[str, ...] = get_args(VocoderGraphName)
"""Graphs of a compiled vocoder: for windows that are sound to their end, and for what is shorter than the smallest."""
AnyGraphName = Literal[GraphName, VocoderGraphName]
LENGTHS: dict[str, tuple[str, ...]] = {
    "encoder": ("text",),
    "utterance": ("text",),
    "decoder_step": ("text", "steps"),
    "utterance_attentions": ("text",),
    "decoder_step_attentions": ("text", "steps"),
    "postnet": ("steps",),
    "vocoder": ("frames",),
    "short_vocoder": ("frames",),
}
"""The lengths that each graph is compiled for. A test compares them with the graphs' specs."""

OPTIONAL_PASSES = ("flash-decode", "shard-norms", "shard-weights")
"""Names of passes that run only if they are enabled."""
DEFAULT_PASSES = (
    "add-to-table",
    "cancel-permutes",
    "canonicalize",
    "choose-blocks",
    "compose-linears",
    "concat-heads",
    "concatenate-linears",
    "drop-key-bias",
    "eliminate-common-subexpressions",
    "eliminate-dead-code",
    "fold-batch-norm",
    "fold-constants",
    "fold-convolution-scale",
    "fold-padding",
    "fold-query-bias",
    "fold-scale",
    "fold-value-bias",
    "forward-row-through-relu",
    "fuse-activation",
    "fuse-attention",
    "fuse-bias",
    "fuse-residual",
    "gather-relative-positions",
    "heads-as-views",
    "keep-activated",
    "make-on-host",
    "mask-by-index",
    "merge-reshapes",
    "narrow-weights",
    "place-in-l1",
    "shard-convolutions",
    "shard-stages",
    "sink-narrows",
    "sink-permutes",
    "sink-reshapes",
    "slice-after-view",
    "split-concat",
    "split-heads",
    "stack-heads",
)
"""Names of passes that run unless they are disabled, as in a dictionary: their order is the pipeline's business. A test
compares both tuples with the pipeline's passes."""
STAGES = ("import", "read-prefix", "hoist-invariants", "lower", "final", *DEFAULT_PASSES, *OPTIONAL_PASSES)
"""Names of stages of a compilation; a pass that runs again gets ``-2`` and so on after its name."""

FEW = 4
"""Up to so many names are listed in full, without a guess at the nearest one."""
SHOWN = 12
"""Where there are more than twice as many names, a message shows so many of them."""
LISTED = "`inspect GRAPH --list` lists them"
"""Where all passes and stages of a graph are found: they are too many for a message."""


def advice(name: object, known: Iterable[str], listed: str = "") -> str:
    """Suggest the known names nearest to an unknown ``name``, or all of them if there are few or none is near.

    ``listed`` says where many names are listed, to stand in their place. The result ends a message: ``did you mean
    'fold-scale'?``, ``choose one of bucket, exact``.
    """
    names = list(known)
    near = get_close_matches(str(name), names, n=2) if len(names) > FEW else []
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    if listed and len(names) > FEW:
        return listed
    more = f" and {len(names) - SHOWN} more" if len(names) > 2 * SHOWN else ""
    return f"choose one of {', '.join(names[:SHOWN] if more else names)}{more}"


def one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise ``InvalidArgument`` if the ``value`` of the argument ``name`` is not one of the ``known``."""
    if not isinstance(value, str) or value not in known:
        raise InvalidArgument(f"{name}={value!r} is not known: {advice(value, known)}", arguments=(name,))


def check_precision(precision: str) -> None:
    """Raise ``InvalidArgument`` for the precision of a plan that ttnn refuses to run."""
    if precision == "float32":
        raise InvalidArgument(
            f"precision={precision!r} runs on the reference executor only, as ttnn refuses it in attention, embedding "
            "and caches: compile with precision='bfloat16'",
            arguments=("precision",),
        )


def check_stage(stage: str) -> None:
    """Raise ``InvalidArgument`` for a name that no stage of any compilation has."""
    if re.sub(r"-\d+$", "", stage) not in STAGES:
        raise no_stage(stage, STAGES)


def check_between(between: Sequence[str]) -> None:
    """Raise ``InvalidArgument`` unless these are two stages, or one that has another before it."""
    if not 1 <= len(between) <= 2:
        raise InvalidArgument(f"a pass or two stages are expected, got {len(between)}: {', '.join(between)}")
    if list(between) == [STAGES[0]]:
        raise InvalidArgument(f"{STAGES[0]} is the first stage, and nothing is before it: name two stages")


def no_stage(stage: str, known: Iterable[str]) -> InvalidArgument:
    """Return the error for a stage that is not among the ``known``."""
    return InvalidArgument(f"there is no stage {stage!r}: {advice(stage, known, LISTED)}")
