"""Calls of ttnn as text: what each kind of node becomes on two boards. ``--update-golden`` rewrites the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compiler.device.session import Session
from compiler.dialects.ttnn.call import HostCall, HostTensor, TtnnCall, Upload, call_of
from compiler.dialects.ttnn.symbols import Made, Named, Typed, live, made, typed, typed_call
from compiler.ir.graph import Node
from compiler.ir.types import DType
from compiler.target.boards import BOARDS
from tests.device import inside
from tests.device.conftest import Mocks
from tests.device.standin import models
from tests.device.standin.models import PLANS, compiled
from tests.lowering.outcomes import BY_NAME


def nodes(board: str) -> Iterator[tuple[str, Node]]:
    """All nodes of all plans for a board, each with the name of its graph, then those of the lowering's cases."""
    for plan in PLANS:
        for name in models.GRAPHS:
            executable = models.compiled(plan).for_board(board).graph(name, text=12, steps=20)
            yield from ((name, node) for node in executable.graph.nodes)
    for name, case in BY_NAME.items():
        yield from ((f"case {name}", node) for node in case.sketch().lowered(DType.BFLOAT16).nodes)


def kind(text: str) -> tuple[str, ...]:
    """What a call is but for its numbers: the words of the text."""
    words = "".join(letter if letter.isidentifier() or letter in ".=_" else " " for letter in text).split()
    return tuple(word for word in words if word not in ("True", "False"))


def calls(board: str) -> str:
    """One call of each kind, with the types that it reads and makes; of the cases, only for ops that no plan has."""
    found: dict[tuple[str, ...], str] = {}
    ops: set[str] = set()
    for graph, node in nodes(board):
        if graph.startswith("case ") and node.op.name in ops:
            continue
        ops |= set() if graph.startswith("case ") else {node.op.name}
        call = call_of(node, BOARDS[board].device)
        text = call.typed()
        reads, makes = (", ".join(str(value.type) for value in values) for values in (node.operands, node.results))
        found.setdefault(kind(text), f"# {graph}: {reads} -> {makes}\n{text}")
    return "\n\n".join(text for _, text in sorted(found.items()))


@pytest.mark.parametrize("board", ["n150", "p150"])
def test_calls_of_each_kind(board: str, golden: Callable[[str, str], None]) -> None:
    golden(f"calls_{board}", calls(board))


def describe(session: Session) -> dict[str, Any]:
    return {**session.call("compiler.device.checks:describe"), **session.call(inside.dram_grid)}


def test_ttnn_opens_the_device_that_calls_are_decided_for(session: Session, board: str, on_device: bool) -> None:
    """Without a device a call is decided for what the table of boards says."""
    found = describe(session)
    assert found == told(board) | ({"devices": found["devices"]} if on_device else {})


@pytest.mark.slow
@pytest.mark.parametrize("board", [name for name in BOARDS if name != "n150"])
def test_ttnn_opens_the_devices_of_other_boards(board: str, mocks: Mocks) -> None:
    assert describe(mocks[board]) == told(board)


def told(board: str) -> dict[str, Any]:
    """What the table says of a board."""
    spec = BOARDS[board].device
    return {
        "arch": spec.arch,
        "grid": [spec.columns, spec.rows],
        "banks": spec.banks,
        "devices": BOARDS[board].chips,
        "dram_grid": [spec.banks, 1],
    }


# --- objects as data --------------------------------------------------------------------------------------------------


class Root:
    """Takes the place of a module: gives back how it is called."""

    class part:
        name = "a name"

    @staticmethod
    def call(*positional: object, **keywords: object) -> tuple[object, ...]:
        return positional, keywords


def test_arguments_become_live_and_are_printed_alike() -> None:
    argument = made("root.call", 1, (1, 2), ((0, 0), (0, 3)), x=Named("root.part.name"), y=made("root.call"))
    alive = live(argument, {"root": Root})
    assert alive == ((1, [1, 2], [(0, 0), (0, 3)]), {"x": "a name", "y": ((), {})})
    assert typed(argument) == "root.call(1, [1, 2], [(0, 0), (0, 3)], x=root.part.name, y=root.call())"
    assert eval(typed(argument), {"root": Root}) == alive


@pytest.mark.parametrize("number", [1.0, -3.4e38, float("inf"), float("-inf"), 1e-12, 3, True, None, "gelu"])
def test_numbers_and_words_are_printed_as_python_reads_them(number: object) -> None:
    assert eval(typed(number)) == number  # type: ignore[arg-type]


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="gone"):
        live(Named("root.gone"), {"root": Root})


def test_a_long_call_gets_a_line_for_each_argument() -> None:
    long = "x" * 60
    text = typed_call("ttnn.add", [("a", Typed(long)), ("b", Typed(long)), ("c", made("ttnn.f", 1))])
    assert text == f"ttnn.add(\n    a={long},\n    b={long},\n    c=ttnn.f(1),\n)"


def test_operands_have_the_names_that_they_are_given() -> None:
    names = {0: "hidden", 1: "weight", 2: "mask"}.__getitem__
    call = TtnnCall("ttnn.concat", (("tensors", (0, 1)), ("mask", 2)), (("dim", 1),))
    assert call.typed(names) == "ttnn.concat(tensors=[hidden, weight], mask=mask, dim=1)"
    assert call.typed() == "ttnn.concat(tensors=[x0, x1], mask=x2, dim=1)"


def test_calls_compare_by_what_they_say() -> None:
    """Frozen data all through: equal, hashable, and good to be kept."""
    spec = BOARDS["n150"].device
    graph = compiled("one row").graph("decoder_step", text=12, steps=20).graph
    first, second = ([call_of(node, spec) for node in graph.nodes] for _ in range(2))
    assert first == second and len(set(first)) <= len(first)
    assert {type(call) for call in first} <= {TtnnCall, HostCall, Upload}
    other = [call_of(node, BOARDS["p150"].device) for node in graph.nodes]
    assert first != other, "grids differ"


def test_weights_of_the_host_are_printed_with_how_they_get_to_ttnn() -> None:
    tensor = HostTensor(Named("torch.float32"), Named("ttnn.float32"), None, (3,), spread=False)
    assert tensor.typed("w") == "ttnn.from_torch(w.to(torch.float32).contiguous(), dtype=ttnn.float32)"
    spread = HostTensor(Named("torch.int32"), Named("ttnn.uint16"), Named("ttnn.TILE_LAYOUT"), (3,), spread=True)
    assert [given[1] for given in spread.arguments(split=True)][-1] == Made(
        "ttnn.ShardTensorToMesh", (Named("device"),), (("dim", 0),)
    )
