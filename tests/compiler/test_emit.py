"""The stages by which calls become a script: loops, methods, sizes, functions, and what each refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compiler.dialects.ttnn.symbols import Named, Typed
from compiler.inspect.emit import bodies, functions
from compiler.inspect.emit.loops import Item, Loop, rolled
from compiler.inspect.emit.names import Weights, joined, parts
from compiler.inspect.emit.preparing import with_shared_call
from compiler.inspect.emit.routines import extracted
from compiler.inspect.emit.sizes import join
from compiler.inspect.emit.statements import GIVEN_TOO, Carried, Chosen, Input, Local, Program, Ref, Statement, Weight
from compiler.inspect.emit.trees import Differs, Form, Same, Size
from compiler.inspect.emit.variants import merged


def linear(number: int, reads: Ref, weight: str, **keywords: Any) -> Statement:
    given = (("input_tensor_a", 0), ("input_tensor_b", 1))
    return Statement(number, "ttnn.linear", given, (reads, Weight(parts(weight))), tuple(keywords.items()))


def add(number: int, *reads: Ref) -> Statement:
    return Statement(number, "ttnn.add", (("input_tensor_a", 0), ("input_tensor_b", 1)), reads, ())


def layers(count: int, **keywords: Any) -> list[Statement]:
    """``x = x + linear(x)`` so many times, each with its own weight; keywords are lists with an item for each."""
    made: list[Statement] = []
    hidden: Ref = Input(("x",))
    for i in range(count):
        own = {name: values[i] for name, values in keywords.items()}
        made += [linear(3 * i, hidden, f"layers.{i}.weight", **own), linear(3 * i + 1, Local(3 * i), "shared.weight")]
        made.append(add(3 * i + 2, hidden, Local(3 * i + 1)))
        hidden = Local(3 * i + 2)
    return made


def only(items: tuple[Item, ...]) -> Loop:
    (loop,) = items
    assert isinstance(loop, Loop)
    return loop


def test_layers_become_a_loop() -> None:
    made = rolled(layers(4), ((("y",), Local(11)),))
    loop = only(made.items)
    assert (loop.count, len(loop.body)) == (4, 3)
    assert loop.initial == (Input(("x",)),) and loop.final == (Local(2),)
    first, second, third = loop.body
    assert isinstance(first, Statement) and isinstance(second, Statement) and isinstance(third, Statement)
    assert joined(first.operands[1].key) == "layers.{i}.weight"  # type: ignore[union-attr]
    assert joined(second.operands[1].key) == "shared.weight"  # type: ignore[union-attr]
    assert third.operands == (Carried(loop.number, 0), Local(1))
    assert made.outputs == ((("y",), Local(2)),), "what the last turn made"


def test_numbers_that_grow_are_written_with_the_counter_and_others_are_looked_up() -> None:
    loop = only(rolled(layers(4, start=[0, 12, 24, 36], width=[8, 8, 4, 8]), ()).items)
    first = loop.body[0]
    assert isinstance(first, Statement)
    assert dict(first.keywords) == {"start": Form(0, (("i", 12),)), "width": Typed("width")}
    assert loop.columns == {"width": (8, 8, 4, 8)}


def test_two_numbers_do_not_make_a_line() -> None:
    """Through two numbers there always is one."""
    loop = only(rolled([*block(0, Input(("x",)), 0), *block(6, Local(5), 1)], ()).items)
    assert loop.count == 2 and loop.columns == {"width": WIDTHS[:2]}


@pytest.mark.parametrize(
    ("what", "count"),
    [("a weight is another's", 3), ("an earlier turn is read later", 4), ("the words differ", 3)],
)
def test_what_is_no_loop_stays_apart(what: str, count: int) -> None:
    """Nothing is told wrong: what does not fit is left out of the loop, or there is none."""
    statements = layers(4, mode=["a", "a", "a", "b"] if what == "the words differ" else ["a"] * 4)
    if what == "a weight is another's":
        statements[9] = linear(9, Local(8), "layers.7.weight", mode="a")
    if what == "an earlier turn is read later":
        statements.append(add(12, Local(2), Local(11)))
    made = rolled(statements, ())
    loops = [item for item in made.items if isinstance(item, Loop)]
    assert all(loop.count <= count for loop in loops)
    if what == "an earlier turn is read later":
        read = next(item for item in reversed(made.items) if isinstance(item, Statement)).operands
        inside = {s.number for loop in loops for s in loop.body if isinstance(s, Statement)}
        assert not any(isinstance(ref, Local) and ref.statement in inside and ref != Local(11) for ref in read[:1])


MASK = Input(("mask",))


def scaled(number: int, reads: Ref, by: Ref = MASK) -> Statement:
    return Statement(number, "ttnn.multiply", (("input_tensor_a", 0), ("input_tensor_b", 1)), (reads, by), ())


def shortened(count: int, last_adds: Ref | None = None) -> list[Statement]:
    """``x = x + scaled(linear(x))`` so many times; the last turn does not scale, and may add something else."""
    made: list[Statement] = []
    hidden: Ref = Input(("x",))
    for i in range(count):
        made.append(linear(3 * i, hidden, f"layers.{i}.weight"))
        if i < count - 1:
            made.append(scaled(3 * i + 1, Local(3 * i)))
        inner = Local(3 * i + 1) if i < count - 1 else last_adds or Local(3 * i)
        made.append(add(3 * i + 2, hidden, inner))
        hidden = Local(3 * i + 2)
    return made


def test_a_turn_may_leave_out_what_is_light() -> None:
    """What it would have made is what it would have read, also for who reads it after the loop."""
    made = rolled(shortened(4), ((("y",), Local(11)),))
    loop = only(made.items)
    assert (loop.count, len(loop.body)) == (4, 3)
    heavy, light, last = loop.body
    assert isinstance(heavy, Statement) and isinstance(light, Statement) and isinstance(last, Statement)
    assert (heavy.guards, light.guards, last.guards) == ((), ("i < 3",), ())
    assert light.otherwise == 0 and light.operands == (Local(0), Input(("mask",)))
    assert last.operands == (Carried(loop.number, 0), Local(1)) and made.outputs == ((("y",), Local(2)),)


def test_a_turn_that_reads_something_else_is_no_turn() -> None:
    made = rolled(shortened(4, last_adds=Input(("other",))), ())
    assert [item.count for item in made.items if isinstance(item, Loop)] == [3]


@pytest.mark.parametrize("read_later", [False, True])
def test_turns_take_tensors_of_their_own_from_a_list(read_later: bool) -> None:
    """So that each is freed by its turn; what others read, too, would stay: there is no loop."""
    masks = [Statement(i, "ttnn.full", (), (), (("value", i * i),)) for i in range(3)]
    made: list[Statement] = [*masks]
    hidden: Ref = Input(("x",))
    for i in range(3):
        made += [linear(10 + 2 * i, hidden, f"layers.{i}.weight"), scaled(11 + 2 * i, Local(10 + 2 * i), Local(i))]
        hidden = Local(11 + 2 * i)
    if read_later:
        made.append(add(20, hidden, Local(0)))
    found = [item for item in rolled(made, ()).items if isinstance(item, Loop) and len(item.body) == 2]
    assert [loop.columns for loop in found] == ([] if read_later else [{"hidden": (Local(0), Local(1), Local(2))}])


def test_a_graph_with_more_inputs_and_the_one_with_fewer_become_one() -> None:
    more = Program("more", ("x", "mask"), tuple(shortened(2)), ((("y",), Local(5)),))
    less = Program("less", ("x",), tuple(plain(2)), ((("y",), Local(3)),))
    made = merged(less, more)
    assert [(s.name, s.guards, s.otherwise) for s in made.statements] == [
        ("linear", (), None),
        ("multiply", (GIVEN_TOO,), 0),
        ("add", (), None),
        ("linear", (), None),
        ("add", (), None),
    ]
    with pytest.raises(Differs, match="is no ttnn.linear like the other's".replace(".", r"\.")):
        merged(Program("less", ("x",), tuple(plain(3)), ((("y",), Local(5)),)), more)
    with pytest.raises(Differs, match="has no more inputs"):
        merged(more, more)
    with pytest.raises(Differs, match="returns something else"):
        merged(Program("less", ("x",), tuple(plain(2)), ((("y",), Local(2)),)), more)


def plain(count: int) -> list[Statement]:
    """``x = x + linear(x)`` so many times."""
    made: list[Statement] = []
    hidden: Ref = Input(("x",))
    for i in range(count):
        made += [linear(2 * i, hidden, f"layers.{i}.weight"), add(2 * i + 1, hidden, Local(2 * i))]
        hidden = Local(2 * i + 1)
    return made


WIDTHS = (3, 7, 12)


def block(number: int, reads: Ref, index: int) -> list[Statement]:
    made: list[Statement] = []
    for i in range(6):
        weight = f"blocks.{index}.convs.{i}.weight"
        made.append(
            linear(number + i, reads if i == 0 else Local(number + i - 1), weight, width=WIDTHS[index], mode=str(i))
        )
    return made


def test_blocks_with_others_between_become_a_method() -> None:
    statements = [*block(0, Input(("x",)), 0), *block(6, Input(("x",)), 1), add(12, Local(5), Local(11))]
    statements += [*block(13, Input(("x",)), 2), add(19, Local(12), Local(18))]
    left, outputs, routine = extracted(statements, ((("y",), Local(19)),))
    assert routine is not None and (routine.name, routine.count) == ("block", 3)
    assert [s.path for s in left] == ["self.block", "self.block", "ttnn.add", "self.block", "ttnn.add"]
    assert [dict(s.keywords).get("block") for s in left] == [0, 1, None, 2, None]
    assert routine.columns == {"width": WIDTHS} and routine.takes == ("x",)
    assert routine.body[0].operands[0] == Chosen("x")
    assert joined(routine.body[1].operands[1].key) == "blocks.{block}.convs.1.weight"  # type: ignore[union-attr]
    assert left[2].operands == (Local(5), Local(11)) and outputs == ((("y",), Local(19)),)


def program(steps: int, **changes: Any) -> Program:
    given = {"shape": (1, steps, 96), "cores": min(64, steps // 2), "kernel": 5, **changes}
    return Program("g", ("x",), (linear(0, Input(("x",)), "w.weight", **given),), ((("y",), Local(0)),))


def test_graphs_of_several_sizes_become_one() -> None:
    made, tables = join({64: program(64), 128: program(128), 256: program(256)}, "steps")
    (statement,) = made.statements
    assert dict(statement.keywords) == {
        "shape": (1, Form(0, (("steps", 1),)), 96),
        "cores": Typed("cores"),
        "kernel": 5,
    }
    assert tables.tables == {"cores": {64: 32, 128: 64, 256: 64}}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (program(128, kernel="5"), "kernel is 5 and 5"),
        (Program("g", ("x",), (), ()), "have other calls"),
        (Program("g", ("x",), (add(0, Input(("x",)), Input(("x",))),), ()), "have other calls"),
    ],
)
def test_graphs_that_say_other_things_are_refused(other: Program, reason: str) -> None:
    with pytest.raises(Differs, match=reason):
        join({64: program(64), 128: other}, "steps")


def test_calls_with_much_in_common_become_a_function() -> None:
    long = {f"argument_{i}": f"a word that is long enough {i}" for i in range(8)}
    statements = [linear(i, Input(("x",)), f"layers.{i}.weight", width=8 if i else 4, **long) for i in range(3)]
    calls = functions.factored(statements, lambda function: len(bodies.printed(function)))
    (function,) = calls.functions
    assert function.named == (("input_tensor_b", "weight"),)
    assert [(p.name, p.default) for p in function.parameters] == [("width", 8)]
    assert [arguments for _, arguments in (calls.of[id(s)] for s in statements)] == [(("width", 4),), (), ()]
    text = "\n".join(bodies.printed(function))
    assert text.startswith("def linear(x, w, name, width=8):\n    return ttnn.linear(\n        input_tensor_a=x,\n")
    assert 'input_tensor_b=w[f"{name}.weight"],' in text


def conv(number: int, kernel: int, spread: int) -> Statement:
    sizes = {"in_channels": Size("input_tensor", -1), "kernel_size": (kernel, 1), "dilation": (spread, 1)}
    keywords = (*sizes.items(), ("padding", (Same(0), Same(1))), ("activation", (RELU,) if kernel == 7 else ()))
    operands = (Input(("x",)), Weight(parts(f"convs.{number}.weight")), Weight(parts(f"convs.{number}.bias")))
    names = (("input_tensor", 0), ("weight_tensor", 1), ("bias_tensor", 2))
    return Statement(number, "ttnn.conv2d", names, operands, keywords, prepared=("weight_tensor", "bias_tensor"))


RELU = Named("RELU")


def test_what_a_function_can_tell_from_its_tensors_is_no_parameter() -> None:
    calls = functions.factored([conv(0, 3, 1), conv(1, 7, 5), conv(2, 3, 1)], lambda _: 0)
    (function,) = calls.functions
    assert bodies.printed(function) == [
        "def conv2d(x, w, name, kernel_size=3, dilation=1, activation=None):",
        "    padding = dilation * (kernel_size - 1) // 2",
        '    window = {"kernel_size": [kernel_size, 1], "dilation": [dilation, 1], "padding": [padding, 0]}',
        '    weights = {"weight_tensor": w[f"{name}.weight"], "bias_tensor": w[f"{name}.bias"]}',
        "    output, prepared = ttnn.conv2d(",
        "        input_tensor=x, in_channels=x.shape[-1], activation=activation or [], **window, **weights",
        "    )",
        '    w.update(zip((f"{name}.weight", f"{name}.bias"), prepared))',
        "    return output",
    ]


def test_ops_that_prepare_weights_share_the_call() -> None:
    """What they say of sizes stays theirs; one op alone needs no other function."""
    several = [replace(conv(at, 3, at + 1), path=f"ttnn.conv{1 + at % 2}d") for at in range(4)]
    made = with_shared_call(functions.factored(several, lambda _: 0).functions)
    assert [(each.name, each.through and each.through[0]) for each in made] == [
        ("conv", None),
        ("conv1d", "conv"),
        ("conv2d", "conv"),
    ]
    assert bodies.printed(made[0])[0] == "def conv(op, x, w, name, **sizes):"
    body = " ".join(map(str.strip, bodies.printed(made[1])[1:]))
    assert body.startswith("return conv( ttnn.conv1d, x, w, name, in_channels=x.shape[-1], dilation=[dilation, 1], ")
    assert len(with_shared_call(functions.factored(several[::2], lambda _: 0).functions)) == 1


def test_weights_of_one_name_are_told_apart() -> None:
    weights = Weights("part", ("model.",))
    assert weights._stripped("model.layer.weight") == "layer.weight"
    assert joined(parts("layers.3.weight")) == "layers.3.weight"
