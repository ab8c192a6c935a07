"""What a message calls an argument: the option that was typed, and Python's name where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import compiler
from compiler import InvalidArgument
from compiler.folder import MANIFEST


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("speak", "one", "--weights", "mixed"),
            "--weights mixed with --precision float32: only a plan in bfloat16 has weights in fewer bits, so ask for "
            "--precision bfloat16",
        ),
        (("compile", "--batch-size", 0), "--batch-size 0: a whole number of at least 1 is expected"),
        (("speak", "one", "--seed", -1), "--seed -1: a whole number of at least 0 is expected"),
        (("compile", "--enable", "foo"), "--enable foo: there is no such optional pass, choose one of flash-decode, "),
        (("check", "--board", "n151"), "--board n151 is not known: choose one of n150, n300, p150, p100"),
        (("check", "--precision", "float32"), "--precision float32 runs on the reference executor only, as ttnn refu"),
        (("check", "--graph", "encode"), "--graph encode is not known: did you mean 'encoder'"),
        (
            ("compile", "-o", "saved"),
            "'saved' holds a saved model: name another folder, or replace it with --overwrite",
        ),
        # What the user wrote is left as it is, though it reads like an argument.
        (("speak", "one", "--speaker", "seed=3"), "there is no speaker 'seed=3': the checkpoint has angus, anna; "),
    ],
)
def test_the_command_line_speaks_of_its_options(
    refused: Callable[..., str], arguments: tuple[object, ...], message: str
) -> None:
    Path("saved").mkdir()
    Path("saved", MANIFEST).touch()
    assert refused(*arguments).startswith(message)


def test_python_speaks_of_its_arguments(refused: Callable[..., str]) -> None:
    """After a command, too, whose options are of no concern to it."""
    refused("speak", "one", "--seed", -1)
    with pytest.raises(InvalidArgument, match=r"^weights='mixed' with precision='float32': only a plan in bfloat16"):
        compiler.CompileOptions(weights="mixed")
    with pytest.raises(InvalidArgument, match=r"^seed=-1: a whole number"):
        compiler.speak("one", seed=-1)
