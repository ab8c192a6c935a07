"""What a pass did, as a diff of texts."""

from __future__ import annotations

from typing import Any

import pytest

from compiler import InvalidArgument
from compiler.inspect.difference import difference
from compiler.inspect.report import at_stage
from compiler.ir.text import to_text


def changed(diff: str) -> tuple[list[str], list[str]]:
    """Lines that are gone, and lines that are new."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
    return [line[1:] for line in lines if line[0] == "-"], [line[1:] for line in lines if line[0] == "+"]


def test_a_pass(tiny_compiled: Any) -> None:
    recorder = tiny_compiled.stages("postnet")
    diff = difference(recorder, ["fold-batch-norm"])
    assert diff.splitlines()[:2] == ["--- postnet before fold-batch-norm", "+++ postnet after fold-batch-norm"]
    gone, new = changed(diff)
    assert any("aten.batch_norm.default" in line for line in gone)
    assert not any("aten.batch_norm.default" in line for line in new)
    assert any("aten.rsqrt.default" in line for line in new)
    before, after = (
        to_text(at_stage(recorder, name)).splitlines() for name in ("fold-convolution-scale", "fold-batch-norm")
    )
    assert sorted(set(before) - set(after)) == sorted(set(gone)) and sorted(set(after) - set(before)) == sorted(
        set(new)
    )
    assert "#" not in difference(recorder, ["fold-batch-norm"], origins=False).replace("{  # format", "")


def test_two_stages(tiny_compiled: Any) -> None:
    recorder = tiny_compiled.stages("postnet")
    assert (
        difference(recorder, ["fold-convolution-scale", "fold-batch-norm"]).splitlines()[2:]
        == difference(recorder, ["fold-batch-norm"]).splitlines()[2:]
    )
    forth, back = (changed(difference(recorder, order)) for order in (["import", "final"], ["final", "import"]))
    assert forth == (back[1], back[0])
    assert difference(recorder, ["fuse-attention"]) == "" == difference(recorder, ["final", "final"])


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (["import"], "import is the first stage, and nothing is before it: name two stages"),
        (["fold-batchnorm"], "there is no stage 'fold-batchnorm': did you mean 'fold-batch-norm'"),
        (["import", "fold", "final"], "a pass or two stages are expected, got 3"),
    ],
)
def test_what_is_refused(tiny_compiled: Any, between: list[str], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        difference(tiny_compiled.stages("postnet"), between)
