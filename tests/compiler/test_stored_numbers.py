"""Numbers of ``verify --json``, read again: whole, refused where they are something else, and shown by node."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from compiler.errors import InvalidArgument
from compiler.inspect.ladder import shown, stored
from compiler.inspect.ladder.records import UNMEASURED, Bar, Ladder, Measured, NodeFigure, Own, Point, Rung
from compiler.inspect.pictures import model_explorer
from compiler.inspect.pictures.data import graph_data
from compiler.target.boards import BOARDS
from tests.compiler.test_pictures import lowered

OPTIONS = {"board": "n150", "postnet": "bucket", "optional passes": "none", "passes left out": "none"}
LAYER = "net.layers.0"


def ladder(node: str = "linear") -> Ladder:
    rung = Rung("layer", "encoder: <layers.0>", "theirs", "here", Measured(0.9, 0.2, -0.1), Bar(pcc=0.99, error=0.1))
    return Ladder(
        2,
        "bfloat16, weights bfloat16",
        {"model": "a model", "text": "a <text>", "computed by": "nobody"},
        OPTIONS,
        {},
        False,
        (
            replace(rung, own=Own(Measured(0.8, 0.3, 0.0))),
            replace(rung, measured=Measured(0.0, math.inf, math.nan)),
            Rung("words", "", "", "", UNMEASURED, Bar(), left_out="no recogniser"),
        ),
        {"encoder": (Point("0", 0.2, 0.9, 0.3, LAYER),)},
        {"teacher-forced": (Point("1", 0.2, math.nan), Point("2", 0.1, 0.9, 0.2))},
        {
            "g": (
                NodeFigure(node, "ttnn.linear", 0.004, 0.9, 0.7),
                NodeFigure("relu", "ttnn.conv1d", 1.0, 0.0, math.inf),
            )
        },
    )


def test_numbers_are_read_as_they_were_written() -> None:
    made = ladder()
    (found,) = stored.read(shown.to_json([made]), "a file")
    assert repr(found) == repr(made), "by text, as numbers that are none are not equal"
    assert [each.verdict for each in found.rungs] == ["as theirs", "FAIL", "not run"]


def changed(**changes: Any) -> str:
    data = json.loads(shown.to_json([ladder()]))
    return json.dumps({**data, "plans": [{**data["plans"][0], **changes}]})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "a file is not JSON"),
        ("[]", "a file has no plans with rungs: write it with `verify --json`"),
        ('{"plans": []}', "has no plans"),
        ('{"plans": [{"readings": []}]}', "has no plans with rungs"),
        (changed(format=1), "a file has format 1, and this version reads 2: write it anew"),
        (changed(rungs=[{"level": 1}]), r"a file: plans\[0\].rungs\[0\]: of is missing"),
        (changed(title=3), r"plans\[0\].title: a value of type str is expected, got 3"),
    ],
)
def test_what_is_no_file_of_numbers_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        stored.read(text, "a file")


def test_numbers_of_another_plan_are_refused() -> None:
    made = ladder()
    assert stored.of_plan([made], made.title, OPTIONS, "a file") is made
    with pytest.raises(InvalidArgument, match="numbers of other plans \\(bfloat16, weights bfloat16\\)"):
        stored.of_plan([made], "float32", OPTIONS, "a file")
    with pytest.raises(InvalidArgument, match="board 'n150', not 'p100'"):
        stored.of_plan([made], made.title, OPTIONS | {"board": "p100"}, "a file")


def test_nodes_have_their_own_numbers_and_those_of_the_blocks_that_they_end() -> None:
    data = graph_data(lowered(), BOARDS["n150"])
    first = next(node for node in data.nodes if node.op == "ttnn.linear")
    made = replace(ladder(first.name), nodes={data.graph: ladder(first.name).nodes["g"]})
    last = [node.name for node in data.nodes if any(o.module.startswith(LAYER) for o in node.origins)][-1]
    spoken = model_explorer.Spoken.of(made, data)
    assert (spoken.error, spoken.explained, spoken.blocks) == ({first.name: 0.004}, {first.name: 0.7}, {last: 0.2})
    files = model_explorer.node_data({"final": data}, None, {"final": spoken})
    said = {kind: json.loads(files[kind])["1 final"] for kind in model_explorer.SPOKEN}
    assert said["error"]["results"] == {first.name: {"value": 0.004}}
    assert said["blocks"]["name"] == "error of the block, beside Hugging Face"
    assert not set(model_explorer.SPOKEN) & set(model_explorer.node_data({"final": data}))
