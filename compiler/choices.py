"""The names that a caller chooses from. Nothing heavy is imported here, so that a wrong name is refused at once."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, get_args

from compiler.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

Board = Literal["n150", "n300", "p150", "p100"]
BOARDS: tuple[str, ...] = get_args(Board)
"""Tenstorrent boards. A plan is made for the cores and the memory of one, and serves those that have no fewer,
with as many banks of DRAM."""

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
"""Element types of a plan. float32 is the reference executor's: ttnn refuses it in attention, embedding and caches."""

Weights = Literal["bfloat16", "bfloat8_b", "mixed"]
WEIGHTS: tuple[str, ...] = get_args(Weights)
"""How a bfloat16 plan stores the weights of products and convolutions: in bfloat8_b 17 bytes in place of 32."""

Postnet = Literal["bucket", "exact"]
POSTNETS: tuple[str, ...] = get_args(Postnet)
"""For how many frames the post-net is compiled: those of a bucket, past a row's end masked, or those that were said."""

GraphName = Literal[
    "encoder", "utterance", "decoder_step", "utterance_attentions", "decoder_step_attentions", "postnet"
]
GRAPHS: tuple[str, ...] = get_args(GraphName)
"""The graphs of a compiled model, in the order in which an utterance runs them.

Those that end in ``attentions`` stand in for the pair before them when cross-attentions are asked for.
"""

OPTIONAL_PASSES = ("flash-decode", "shard-norms", "shard-weights")
"""Names of passes that run only where they are enabled."""
DEFAULT_PASSES = (
    "add-to-table",
    "cancel-permutes",
    "canonicalize",
    "carry-row",
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
    "sink-permutes",
    "slice-after-view",
    "split-concat",
    "split-heads",
    "stack-heads",
    "widen-parts",
)
"""Names of passes that run unless they are disabled. A test compares both with the passes that there are."""
STAGES = ("import", "read-front", "hoist-invariants", "lower", "final", *DEFAULT_PASSES, *OPTIONAL_PASSES)
"""What a stage of a compilation can be called; where a pass runs again, ``-2`` and so on is added."""

FEW = 4
"""So many names are seen at a glance: nobody needs to be told which one is the nearest."""


def advice(name: object, known: Iterable[str]) -> str:
    """What to do in place of an unknown ``name``: the nearest known names, or all where there are few or none is near.

    It ends a message: ``did you mean 'fold-scale'?``, ``choose one of bucket, exact``.
    """
    names = list(known)
    near = get_close_matches(str(name), names, n=2) if len(names) > FEW else []
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"choose one of {', '.join(names)}"


def one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise ``InvalidArgument`` where the argument ``name`` has a ``value`` that is not one of the ``known``."""
    if not isinstance(value, str) or value not in known:
        raise InvalidArgument(f"{name}={value!r} is not known: {advice(value, known)}")


def check_precision(precision: str) -> None:
    """Raise ``InvalidArgument`` for a plan of which ttnn refuses ops."""
    if precision == "float32":
        raise InvalidArgument(
            f"precision={precision!r} runs on the reference executor only, as ttnn refuses it in attention, embedding "
            "and caches: compile with precision='bfloat16'"
        )


def check_stage(stage: str) -> None:
    """Raise ``InvalidArgument`` for the name of a stage that no compilation has."""
    if re.sub(r"-\d+$", "", stage) not in STAGES:
        raise no_stage(stage, STAGES)


def no_stage(stage: str, known: Iterable[str]) -> InvalidArgument:
    """The refusal of a stage that is not among the ``known``."""
    return InvalidArgument(f"there is no stage {stage!r}: {advice(stage, known)}")
