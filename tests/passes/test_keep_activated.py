"""KeepActivated, on TTNN graphs: which residuals are kept activated, what is refused, and that a wrong slope shows."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.dialects.aten import ops
from compiler.dialects.ttnn.activations import leaky_relu
from compiler.ir.graph import Value
from compiler.ir.operation import Stage
from passes import keep_activated
from passes.fuse_activation import FuseActivation
from passes.keep_activated import KeepActivated
from passes.rewrite import near_misses
from tests.passes.interpret import assert_same_numbers, changed, ops_of
from tests.passes.upsampling import CHANNELS_LAST, bent, block, convolution, lowered, network, turned
from tests.sketch import Case, Sketch


def residual(first: bool = False, slope: float = 0.1, also: Any = None) -> Case:
    """A convolution whose result is activated, convolved, and added as it is; ``first``: as the first operand."""
    s = Sketch()
    hidden = convolution(s, turned(s, s.input("x", 1, 6, 4)), "before")
    made = convolution(s, bent(s, hidden, slope), "conv")
    pair = (hidden, made) if first else (made, hidden)
    total = s.op(ops.add.Tensor, *pair, module="sum")
    outputs = [turned(s, bent(s, total))]
    if also is not None:
        outputs.append(also(s, hidden))
    return lowered(s.case(*outputs), *CHANNELS_LAST)


@pytest.mark.parametrize("first", [True, False])
def test_the_sum_undoes_it_on_its_second_operand(first: bool) -> None:
    graph = changed(KeepActivated(), residual(first), Stage.TTNN)
    (total,) = (node for node in graph.nodes if node.op.name == "ttnn.add")
    assert total.attribute("input_tensor_b_activations") == (("leaky_relu", 10.0),)
    (leaky,) = (node for node in graph.nodes if node.result is total["input_tensor_b"])
    assert leaky.op is leaky_relu and graph.users[leaky.operands[0]] == (leaky,)


def test_no_leaky_relu_of_a_vocoder_is_a_program_of_its_own() -> None:
    case = lowered(network(), *CHANNELS_LAST)
    assert ops_of(case.graph).count("ttnn.leaky_relu") == 9
    kept = changed(KeepActivated(), case, Stage.TTNN)
    assert ops_of(FuseActivation().run(kept)).count("ttnn.leaky_relu") == 0
    assert ops_of(FuseActivation().run(case.graph)).count("ttnn.leaky_relu") > 4


def test_two_blocks_read_one_residual() -> None:
    s = Sketch()
    hidden = convolution(s, turned(s, s.input("x", 1, 6, 4)), "before")
    bend = bent(s, hidden)
    sums = [s.op(ops.add.Tensor, convolution(s, bend, name), hidden) for name in ("one", "two")]
    case = lowered(s.case(turned(s, s.op(ops.add.Tensor, *sums))), *CHANNELS_LAST)
    graph = changed(KeepActivated(), case, Stage.TTNN)
    assert sum(node.attribute("input_tensor_b_activations") is not None for node in graph.nodes) == 2


def misses() -> dict[str, Case]:
    cases = {
        "a slope of 0.0 has no inverse": residual(slope=0.0),
        "what is activated is an output": residual(also=turned),
        "what is activated is read by something else than sums": residual(
            also=lambda s, hidden: turned(s, s.op(ops.tanh.default, hidden))
        ),
        "a sum adds it to itself, to a number, or to what is broadcast": residual(
            also=lambda s, hidden: turned(s, s.op(ops.add.Tensor, hidden, hidden))
        ),
    }
    s = Sketch()
    given: Value = s.input("x", 1, 6, 4)
    total = s.op(ops.add.Tensor, turned(s, convolution(s, turned(s, bent(s, given)), "conv")), given)
    cases["the op before it could not apply the activation"] = lowered(s.case(total), *CHANNELS_LAST)
    s = Sketch()
    hidden = convolution(s, turned(s, s.input("x", 1, 6, 4)), "one", taps=1)
    total = s.op(ops.add.Tensor, convolution(s, bent(s, hidden), "conv"), hidden)
    cases["the op before it could not apply the activation "] = lowered(s.case(turned(s, total)), *CHANNELS_LAST)
    s = Sketch()
    one, two = (convolution(s, turned(s, s.input(name, 1, 6, 4)), name) for name in "ab")
    outputs = [turned(s, bent(s, one)), turned(s, bent(s, two)), turned(s, s.op(ops.add.Tensor, one, two))]
    cases["a sum undoes the activation of its other operand"] = lowered(s.case(*outputs), *CHANNELS_LAST)
    return cases


@pytest.mark.parametrize(("reason", "case"), misses().items())
def test_near_miss(reason: str, case: Case) -> None:
    changed(KeepActivated(), case, Stage.TTNN)
    assert reason.strip() in [why for _, why in near_misses(KeepActivated(), case.graph)]


def test_a_wrong_slope_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    case = residual()
    right = keep_activated._undoing

    def wrong(builder: Any, node: Any, kept: Any) -> Any:
        made = right(builder, node, kept)
        last = builder.nodes[-1]
        slopes = {**dict(last.attributes), "input_tensor_b_activations": (("leaky_relu", 5.0),)}
        builder.nodes[-1] = type(last)(
            last.op, last.operands, last.names, tuple(sorted(slopes.items())), last.results, last.origins
        )
        return made

    monkeypatch.setattr(keep_activated, "_undoing", wrong)
    with pytest.raises(AssertionError, match="is off by"):
        assert_same_numbers(case.run(KeepActivated().run(case.graph)), case.run())


def test_a_chain_of_residuals() -> None:
    s = Sketch()
    hidden = convolution(s, turned(s, s.input("x", 1, 6, 4)), "before")
    case = lowered(s.case(turned(s, block(s, hidden, "block", 1, 2, 3))), *CHANNELS_LAST)
    graph = changed(KeepActivated(), case, Stage.TTNN)
    assert sum(node.attribute("input_tensor_b_activations") is not None for node in graph.nodes) == 3
