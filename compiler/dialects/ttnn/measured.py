"""What ttnn's own kernels computed, as data: the only source of error bounds and of the page that shows them.

A row is one op in one configuration. Errors are the largest difference from float32 arithmetic on the same rounded
operands, over the largest magnitude of the result, unless the row says otherwise. ``python -m compiler ops --measured``
prints the rows. Nothing here was measured on silicon.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Agreement(Enum):
    """How a kernel's results relate to the exact ones, where they are not told by a size of error."""

    EXACT = "equal, bit for bit"
    ROUNDED = "correctly rounded, ties to even"
    TIES_AWAY = "rounded to nearest, ties away from zero"


@dataclass(frozen=True, slots=True)
class Span:
    """The least and the largest of several readings; equal for one."""

    low: float
    high: float

    def __str__(self) -> str:
        return short(self.low) if self.low == self.high else f"{short(self.low)} to {short(self.high)}"


@dataclass(frozen=True, slots=True)
class Rig:
    """What kernels ran on: the device, the version of ttnn, and what about it is not the real thing."""

    device: str
    ttnn: str
    caveat: str

    def __str__(self) -> str:
        return f"{self.device}, ttnn {self.ttnn}"


SIMULATED_WORMHOLE = Rig(
    "a simulated Wormhole board",
    "0.81.1",
    "the vector unit's builtins were a stand-in, which may differ from Tenstorrent's compiler by float32 units in the "
    "last place in fused multiply-adds",
)
"""What every row here was measured on."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one op computed in one configuration.

    ``modelled`` is the error of the reference executor's roundings on the same data, where it was recorded. With
    ``inner`` the error is over the largest sum of ``|x| |w|`` over so many products, before the result is rounded.
    ``bias`` is the mean relative error. ``planned``: the compiler's plans run the op so, and its bound must cover this
    row. ``case`` names the case of ``tests/lowering/cases`` that was run.
    """

    op: str
    configuration: str
    error: Span | Agreement
    modelled: Span | None = None
    inner: int | None = None
    bias: float | None = None
    planned: bool = True
    case: str | None = None
    note: str = ""
    rig: Rig = SIMULATED_WORMHOLE


@dataclass(frozen=True, slots=True)
class Speech:
    """Free-running speech of the small voice beside float32: correlation (PCC) and mean error, as recorded."""

    text: str
    steps: int
    plan: str
    pcc: float
    mean_error: float


def short(number: float) -> str:
    """A number with as many digits as it was recorded with, at most three: ``2.5e-02`` is ``2.5e-2``."""
    digits, exponent = f"{number:.2e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"


def _one(error: float) -> Span:
    return Span(error, error)


_SDPA = "ttnn.transformer.scaled_dot_product_attention"
_APPROXIMATE = "approximate exponential, ttnn's default"
_EXACT = "exact exponential (`exp_approx_mode=False`), chunks of 32"

MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement("ttnn.add", "bfloat16", Agreement.TIES_AWAY, note="99.5 % of elements; 11 % one unit off nearest even"),
    Measurement("ttnn.subtract", "bfloat16", Agreement.TIES_AWAY, note="99.5 % of elements; 11 % one unit off"),
    Measurement("ttnn.multiply", "bfloat16", Agreement.ROUNDED),
    Measurement("ttnn.divide", "bfloat16", Agreement.ROUNDED),
    Measurement("ttnn.relu", "bfloat16", Agreement.ROUNDED),
    Measurement("ttnn.sqrt", "bfloat16", Agreement.ROUNDED),
    Measurement("ttnn.reciprocal", "bfloat16", Agreement.ROUNDED),
    Measurement("ttnn.gelu", "bfloat16", _one(9.7e-4), _one(9.7e-4), note="7.6 units in the last place in its tail"),
    Measurement("ttnn.tanh", "bfloat16", _one(3.2e-3), Span(1.9e-3, 2.4e-3)),
    Measurement("ttnn.sigmoid", "bfloat16", _one(2.4e-3), Span(1.9e-3, 2.4e-3)),
    Measurement("ttnn.silu", "bfloat16", _one(2.0e-3), Span(1.9e-3, 2.4e-3)),
    Measurement("ttnn.exp", "bfloat16", _one(3.8e-3), Span(1.9e-3, 2.4e-3)),
    Measurement("ttnn.softmax", "HiFi4, float32 destination", _one(2.3e-3), _one(1.9e-3)),
    Measurement("ttnn.softmax", "no configuration", _one(1.1e-2), _one(1.9e-3), planned=False),
    Measurement("ttnn.layer_norm", "HiFi4, float32 destination", _one(3.2e-3), _one(2.7e-3)),
    Measurement("ttnn.layer_norm", "the same, of rows with mean 8 and deviation 0.5", _one(5.6e-3), _one(2.6e-3)),
    Measurement("ttnn.batch_norm", "over time", _one(4.7e-3), _one(2.45e-3), case="batch_norm over time"),
    Measurement("ttnn.linear", "HiFi4, float32 destination, bfloat16 result", _one(2.64e-3), _one(2.64e-3)),
    Measurement("ttnn.linear", "HiFi4, float32 destination, float32 result", Span(3e-4, 5e-4), planned=False),
    Measurement("ttnn.linear", "HiFi4, float32 destination, of sum |x| |w|", _one(3.7e-4), inner=32),
    Measurement("ttnn.linear", "HiFi4, float32 destination, of sum |x| |w|", _one(6e-5), inner=768),
    Measurement("ttnn.linear", "HiFi3", Span(2.4e-3, 2.9e-3), planned=False, note="within 10 % of HiFi4"),
    Measurement("ttnn.linear", "HiFi2, float32 destination", _one(4.1e-3), planned=False),
    Measurement("ttnn.linear", "LoFi, float32 destination", _one(1.8e-2), planned=False),
    Measurement("ttnn.conv1d", "with tanh", _one(7.3e-3), _one(1.95e-3), case="conv1d and tanh"),
    Measurement("ttnn.conv1d", "dilated", _one(4.2e-3), _one(2.06e-3), case="conv1d with a dilation"),
    Measurement(
        "ttnn.conv1d",
        "the small voice's first post-net convolution",
        _one(1.5e-2),
        Span(2e-3, 4e-3),
        note="cancellation: sum |x| |w| reaches 176",
    ),
    Measurement(_SDPA, f"one query, 64 keys, {_APPROXIMATE}", _one(2.5e-2), _one(5.0e-3), bias=-1.1e-2, planned=False),
    Measurement(_SDPA, f"one query, 256 keys, {_APPROXIMATE}", _one(2.5e-2), _one(6.9e-3), planned=False),
    Measurement(_SDPA, f"one query, 64 keys, {_EXACT}", _one(3.8e-3), _one(5.0e-3)),
    Measurement(_SDPA, f"one query, 256 keys, {_EXACT}", _one(5.9e-3), _one(6.9e-3)),
    Measurement(_SDPA, "16-bit destination, exact exponential or not", Span(2.2e-2, 3.1e-2), planned=False),
    Measurement(
        f"{_SDPA}_decode", "flash decoding; the exact exponential's flag changes nothing", Span(1.5e-2, 2.7e-2)
    ),
    *(
        Measurement(op, "as planned", Agreement.EXACT)
        for op in (
            "ttnn.embedding",
            "ttnn.experimental.indexed_fused_update_cache",
            "ttnn.experimental.view",
            "ttnn.gather",
            "ttnn.narrow",
            "ttnn.plus_one",
            "ttnn.typecast",
        )
    ),
)
"""Every reading, in the order in which they are shown."""

SPEECH: tuple[Speech, ...] = (
    Speech("no", 12, "reference, bfloat16, sums' ties to even", 0.99995, 2.3e-3),
    Speech("no", 12, "device, approximate exponential", 0.99988, 3.7e-3),
    Speech("no", 12, "device, exact exponential", 0.99994, 2.5e-3),
    Speech("four nine three", 33, "reference, bfloat16, sums' ties to even", 0.99981, 4.9e-3),
    Speech("four nine three", 33, "device, approximate exponential", 0.99932, 9.7e-3),
    Speech("four nine three", 33, "device, exact exponential", 0.99967, 6.8e-3),
)
"""Whole utterances, the reference's beside the device's; both stopped at float32's step each time."""
