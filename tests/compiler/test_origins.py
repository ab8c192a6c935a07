"""Origins as text: what usual ones look like, and that any are read back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.dialects import DIALECTS
from compiler.dialects.aten import Aten, emit, ops
from compiler.ir.builder import Builder
from compiler.ir.graph import Graph, Node, Port, Value
from compiler.ir.operation import Origin
from compiler.ir.origins import from_text, grouped, to_text
from compiler.ir.parse import parse
from compiler.ir.types import DType, TensorType

ROW = TensorType((3,), DType.FLOAT32)
TEXTS = {
    "encoder.layers.0 (model.py:3)": [Origin("encoder.layers.0", "model.py:3")],
    "a (x.py:1, x.py:2); b (y.py:3)": [Origin("a", "x.py:1"), Origin("a", "x.py:2"), Origin("b", "y.py:3")],
    "a (1); b (2); a (3)": [Origin("a", "1"), Origin("b", "2"), Origin("a", "3")],
    "(root) (components/step.py:8)": [Origin("", "components/step.py:8", True)],
    "a ()": [Origin("a", "")],
    '(root) ("", x.py:1)': [Origin("", ""), Origin("", "x.py:1")],
    '"experts.a key" (x.py:1)': [Origin("experts.a key", "x.py:1")],
    'a ("<ipython-input-1>(x):3")': [Origin("a", "<ipython-input-1>(x):3")],
    'a ("my model.py:3", <eval_with_key>.1:5)': [Origin("a", "my model.py:3"), Origin("a", "<eval_with_key>.1:5")],
    "a (step.py:8 stand-in, b/x.py:1 model)": [Origin("a", "step.py:8", True), Origin("a", "b/x.py:1")],
    'a ("" stand-in)': [Origin("a", "", True)],
    'a ("x model")': [Origin("a", "x model")],
    'a ("1\\n2"); "(root)" ("\\"")': [Origin("a", "1\n2"), Origin("(root)", '"')],
}


def of(*origins: Origin) -> Graph:
    x, y = Value(ROW, "x"), Value(ROW, "y")
    node = Node(Aten(ops.relu.default), (x,), ("self",), (), (y,), origins)
    return Graph("g", (Port("x", x),), (), (node,), (Port("y", y),))


def back(graph: Graph) -> tuple[Origin, ...]:
    (node,) = parse(str(graph), DIALECTS).nodes
    return node.origins


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text: str) -> None:
    origins = TEXTS[text]
    assert to_text(origins) == text
    assert f"  # {text}\n" in str(of(*origins))
    assert back(of(*origins)) == from_text(text) == tuple(origins)


ODD = st.text(" ;(),\"'\\/#ab.:\n\r\t\x0b\x0c\x1c\x1d\x85\u2028\ud800é")
NAMES = st.sampled_from(["", "(root)", "a", "a.b", "f.py:1", "c/f.py:1", "model", "stand-in", "x model", "x stand-in"])
ORIGINS = st.lists(st.builds(Origin, *[NAMES | ODD | st.text()] * 2, st.booleans()), max_size=6).map(tuple)


@settings(max_examples=500, deadline=None)
@given(ORIGINS)
def test_any_origins_are_read_back(origins: tuple[Origin, ...]) -> None:
    assert from_text(to_text(origins)) == origins
    assert back(of(*origins)) == origins


@pytest.mark.parametrize(
    "remark",
    ["", "why", "see a (x.py:1)", "a (x.py:1) b", "a (x.py:1); b", "a (x", 'a ("x)', 'a ("\\q")', "a (x.py:1);"],
)
def test_a_remark_says_no_origins(remark: str) -> None:
    assert from_text(remark) == ()


def test_a_line_with_a_space_need_not_be_in_quotes() -> None:
    """Nor was it, before."""
    assert from_text("a (my model.py:3, x.py:1)") == (Origin("a", "my model.py:3"), Origin("a", "x.py:1"))


def test_nodes_have_the_origins_of_one_module_together() -> None:
    origins = [Origin("a", "1"), Origin("b", "2"), Origin("a", "3"), Origin("b", "2"), Origin("", "4")]
    builder, x = Builder(), Value(ROW)
    y = emit(builder, ops.relu.default, x, origins=origins)
    (node,) = builder.graph("g", [Port("x", x)], [Port("y", y)]).nodes
    assert node.origins == grouped(origins) == tuple(origins[i] for i in (0, 2, 1, 4))
    assert to_text(node.origins) == "a (1, 3); b (2); (root) (4)"
