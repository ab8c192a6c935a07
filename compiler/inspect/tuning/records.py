"""The records of a tuning: all plans with their figures, times of nodes, and what they come from; as JSON and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from compiler.choices import BOARDS, one_of
from compiler.errors import InvalidArgument
from compiler.inspect.ladder.records import finite
from compiler.inspect.tuning.node_times import NodeTime
from compiler.records import json_object, record

FORMAT = 1
"""Version of the records' form. It grows with each change that a reader of the JSON would have to follow."""
_MOST_BYTES = 1 << 26
_MOST = 2.0**63
"""What no figure of a node reaches."""


@dataclass(frozen=True, slots=True)
class NumbersRead:
    """What the check of a plan found: the least PCC and the largest error, each with the part that has it.

    ``failed`` says by how much it fails, a line for each part; empty where it passes.
    """

    pcc: float
    pcc_of: str
    error: float
    error_of: str
    failed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failed


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan that was tried.

    ``settings`` say how it is made, ``name`` the same in words. ``modelled`` is in seconds, as are ``median``, ``low``
    and ``high``, the quartiles of ``rounds``; they are ``None`` where it was not timed. ``why`` says why it was kept or
    not.
    """

    name: str
    settings: Mapping[str, str]
    modelled: float
    median: float | None
    low: float | None
    high: float | None
    rounds: tuple[float, ...]
    numbers: NumbersRead | None
    kept: bool
    why: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """A tuning of one model on one device.

    ``clock`` says what the times are: its label goes with every figure. ``computed`` says what computed the numbers.
    ``run`` says what one timed run is.
    """

    format: int
    board: str
    device: str
    clock: str
    computed: str
    run: str
    versions: Mapping[str, str]
    graphs: str
    seconds: float
    complete: bool
    plans: tuple[PlanRow, ...]
    nodes: tuple[NodeTime, ...]
    notes: tuple[str, ...]

    @property
    def kept(self) -> PlanRow | None:
        """The plan that was kept, if any passed."""
        return next((plan for plan in self.plans if plan.kept), None)

    def to_json(self) -> str:
        """Return the records as JSON, which :func:`read` reads; what is not finite is ``null``."""
        return json.dumps(finite(asdict(self)), indent=1, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Timed:
    """The part of a tuning that a fit takes."""

    board: str
    clock: str
    nodes: tuple[NodeTime, ...]


def read(path: Path) -> Timed:
    """Read what a fit takes of a file that ``tune --json`` printed. Raises ``InvalidArgument``, which names it."""
    where = f"{str(path)!r}"
    try:
        content = json_object(path, _MOST_BYTES)
    except ValueError as error:
        raise InvalidArgument(f"{where}: {error}. Make it with `tune -o FILE`") from None
    if content.get("format") != FORMAT or "nodes" not in content:
        raise InvalidArgument(f"{where} is no file of `tune` in format {FORMAT}: make it with `tune -o FILE`")
    made = record(Timed, {name: content.get(name) for name in ("board", "clock", "nodes")}, where)
    one_of(f"{where}: board", made.board, BOARDS)
    for i, node in enumerate(made.nodes):
        _check(node, f"{where}.nodes[{i}]")
    return made


def _check(node: NodeTime, where: str) -> None:
    """Raise ``InvalidArgument`` for a figure that no node has."""
    work = node.work
    least = {"timed": 0.0, "per_cycle": 2.0**-20, "cores": 1, "readers": 1}
    figures = {"timed": node.timed, **{name: figure for name, figure in asdict(work).items() if name != "matrix"}}
    for name, figure in figures.items():
        if not least.get(name, 0) <= figure < _MOST:
            shown = str(figure)[:20]
            raise InvalidArgument(f"{where}.{name}={shown}: a number of at least {least.get(name, 0):g} is expected")
