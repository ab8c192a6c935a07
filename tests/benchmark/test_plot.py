"""The plot: each ratio with its value, on the axis of its kind."""

from __future__ import annotations

import re
from pathlib import Path

from compiler.benchmark.plot import label, plot
from compiler.benchmark.rows import Kind, Row
from compiler.benchmark.timing import Ratio
from tests.benchmark.test_rows import MADE, rows


def texts(file: Path) -> list[str]:
    """What is written in a drawing, panel after panel; each panel's axis comes before its labels."""
    return re.findall(r"<text[^>]*>(?:<tspan[^>]*>)?([^<]+)", file.read_text())


def test_the_same_rows_give_the_same_plot(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plot(rows(), tmp_path / name)
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()


def test_each_row_is_labelled_with_its_value_in_the_panel_of_its_kind(tmp_path: Path) -> None:
    shown = rows()
    plot(shown, tmp_path / "plot.svg")
    panels = re.split(r'<g id="axes_\d+">', (tmp_path / "plot.svg").read_text())[1:]
    assert len(panels) == len(Kind)
    for kind, panel in zip(Kind, panels, strict=True):
        (tmp_path / "panel.svg").write_text(panel)
        written = texts(tmp_path / "panel.svg")
        ours = [row for row in shown if row.kind is kind]
        assert ours and f"{kind.value} (less is better)" in written
        assert [text for text in written if text in {label(row) for row in shown}] == [label(row) for row in ours[::-1]]
        for row in ours:
            assert row.name in written and f"against {row.against}" in written
        assert not [row.name for row in shown if row.kind is not kind and row.name in written and row.name not in {
            each.name for each in ours
        }]  # fmt: skip


def test_kinds() -> None:
    """Only what somebody else's time was divided by is on the axis on which 1 is as fast as the other."""
    kinds = {(row.name.split(",")[0], row.against): row.kind for row in rows()}
    others = {against for (_, against), kind in kinds.items() if kind is Kind.OTHERS}
    assert all(re.search(r"Hugging Face|torch\.compile|OpenVINO|F\.linear", against) for against in others)
    assert [name for (name, _), kind in kinds.items() if kind is Kind.OURSELVES] == [
        "vocoder", "time to first sound of the same", "compiling all graphs of a further bucket",
        "compiling a post-net of another exact length", "compiling all graphs",
    ]  # fmt: skip
    assert [name for (name, _), kind in kinds.items() if kind is Kind.MEMORY] == ["growth of peak memory"]


def test_labels() -> None:
    assert label(Row("a", "b", 1.0, ratio=Ratio(1.0, 2.0, 0.5, 0.4, 0.6))) == "0.50"
    assert label(Row("a", "b", 0.4, ratio=Ratio(1.0, 2.0, 0.5, 0.4, 0.6))) == "0.50, missed"
    assert label(Row("a", "b", 1.0, failed="no compiler")) == "not measured"
    assert label(Row("a", "b", 1.0, left_out="no environment")) == "left out"


def test_rows_without_a_ratio_have_their_place(tmp_path: Path) -> None:
    plot([Row("a", "b", 1.0, failed="no"), Row("c", "d", 1.0, left_out="no")], tmp_path / "plot.svg")
    assert {"not measured", "left out", "against b", "against d"} <= {*texts(tmp_path / "plot.svg")}
    assert MADE["step"]["failed"], "a row of the benchmark's sample is one of these"
