"""Show the ladder and what a search found: tables and text for a terminal, a page with plots."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup
from rich.table import Table

from compiler.inspect.ladder import plots
from compiler.inspect.ladder.records import OWN, Ladder, Measured, Rung, Search, Verdict, WrongNode

COLUMNS = ("level", "of", "PCC", "error", "bias", OWN, "more", "asked for", "")


def table(ladder: Ladder) -> Table:
    """Return a table with one row per rung."""
    caption = f"computed by the {ladder.about['computed by']}"
    if OWN in ladder.about:
        caption += f"; {OWN}: {ladder.about[OWN]}"
    shown = Table(title=title(ladder), caption=caption)
    for i, column in enumerate(COLUMNS):
        shown.add_column(column, justify="right" if i in (2, 3, 4) else "left", no_wrap=i in (0, 8))
    level = ""
    for rung in ladder.rungs:
        shown.add_row("" if rung.level == level else rung.level, *cells(rung))
        level = rung.level
    return shown


def title(ladder: Ladder) -> str:
    """Return the plan in words, and whether it passes."""
    failed, eased = (sum(rung.verdict is each for rung in ladder.rungs) for each in (Verdict.FAIL, Verdict.AS_OWN))
    verdict = "all rungs pass" if not failed else f"{failed} of {len(ladder.rungs)} rungs do not pass"
    return f"{ladder.title}: {verdict}" + (f", {eased} by no more error than theirs in this type" if eased else "")


def cells(rung: Rung) -> tuple[str, ...]:
    """Return the cells of a rung behind its level."""
    found = rung.measured
    return (
        rung.of,
        _pcc(found),
        "–" if math.isnan(found.error) else f"{found.error:.1e}",
        "–" if math.isnan(found.bias) else f"{found.bias:+.0e}",
        _own(rung),
        "; ".join(_more(rung)),
        str(rung.bar),
        str(rung.verdict),
    )


def _pcc(found: Measured) -> str:
    return "–" if math.isnan(found.pcc) else f"{found.pcc:.6f}"


def _own(rung: Rung) -> str:
    """What the other side's own roundings do, figure by figure."""
    if rung.own is None:
        return ""
    own = rung.own
    said = [] if math.isnan(own.measured.error) else [_pcc(own.measured), f"{own.measured.error:.1e}"]
    said += [] if own.wrong is None else [f"{own.wrong} words wrong"]
    said += [] if own.stop is None or rung.ours is None else [f"stops at {own.stop}"]
    return "; ".join([*said, *([] if own.distance is None else [f"{own.distance:.2g} dB"])])


def _more(rung: Rung) -> list[str]:
    said = []
    if rung.ours is not None:
        same = rung.ours == rung.theirs
        said.append(f"stops at step {rung.ours}" + ("" if same else f", Hugging Face at {rung.theirs}"))
    if rung.distance is not None:
        said.append(f"{rung.distance:.2g} dB")
    said += [] if rung.wrong is None else [f"{rung.wrong} words wrong"]
    return [*said, *filter(None, [rung.note, rung.left_out])]


def misses(ladder: Ladder) -> list[str]:
    """Return a line for each rung that does not pass: by how much."""
    failed = [rung for rung in ladder.rungs if not rung.passed]
    return [f"{ladder.title}, {rung.level}, {rung.of}: {shortfall(rung)}" for rung in failed]


def shortfall(rung: Rung) -> str:
    """Return by how much a rung misses its bar; empty where it passes."""
    found, bar = rung.measured, rung.bar
    said = []
    if rung.ours != rung.theirs:
        said.append(f"it stops at step {rung.ours}, Hugging Face at step {rung.theirs}")
    if bar.pcc is not None and not found.pcc >= bar.pcc:
        said.append(f"PCC {found.pcc:.5f} is below {bar.pcc:g}")
    if bar.error is not None and not found.error <= bar.error:
        said.append(f"error {found.error:.1e} is {found.error / bar.error:.1f} times the {bar.error:.0e} asked for")
    if bar.distance is not None and rung.distance is not None and not rung.distance <= bar.distance:
        said.append(f"{rung.distance:.3g} dB is more than {bar.distance:g} dB")
    if bar.excess is not None and rung.excess is not None and not rung.excess <= bar.excess:
        said.append(f"{rung.excess:.1f} times what the op explains; `verify --bisect` looks into it")
    if bar.wrong is not None and rung.wrong is not None and not rung.wrong <= bar.wrong:
        said.append(f"{rung.wrong} words are heard wrong, of Hugging Face's sound {bar.wrong}")
    return "; ".join(said)


def wrong_text(wrong: WrongNode) -> str:
    """Return all that is known of a wrong node, as lines."""
    lines = [f"{wrong.graph}: {wrong.op} {wrong.node} is the first wrong node", f"  compared  {wrong.compared}"]
    rows: list[tuple[str, str]] = [("stage", wrong.stage), ("why", wrong.why)]
    rows += [("from", origin) for origin in wrong.origins]
    rows += [("input", str(each)) for each in wrong.inputs] + [("result", str(each)) for each in wrong.results]
    rows += [("placement", wrong.placement), ("program", wrong.program)]
    rows += [("or", each) for each in wrong.between]
    rows += [("call", wrong.call.replace("\n", "\n            "))]
    if wrong.others:
        rows.append(
            ("besides", f"other nodes of the graph that are off by more than their ops explain: {wrong.others}")
        )
    rows.append(("script", wrong.script))
    return "\n".join([*lines, *(f"  {name:<9} {said}" for name, said in rows if said)])


def search_text(found: Search) -> str:
    """Return what a search compared and found."""
    compared = ", ".join(f"{count} {what}" for what, count in found.compared.items())
    head = f"compared {compared}; nodes computed by the {found.where}"
    if not found.wrong:
        return f"no wrong node: {head}"
    return "\n\n".join([head, *map(wrong_text, found.wrong)])


def to_json(ladders: Sequence[Ladder]) -> str:
    """Return the records as JSON."""
    passed = all(ladder.passed for ladder in ladders)
    plans = [ladder.as_dict() for ladder in ladders]
    return json.dumps({"passed": passed, "plans": plans}, indent=1, allow_nan=False)


def to_html(ladders: Sequence[Ladder], heading: str) -> str:
    """Return one page on some plans: a table of rungs each, and plots of the error by depth and by step."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("compiler.inspect", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"cells": cells}
    return environment.get_template("ladder/page.html.jinja").render(
        heading=heading,
        ladders=[(ladder, title(ladder)) for ladder in ladders],
        columns=COLUMNS,
        depth=by_depth(ladders),
        steps=by_step(ladders),
    )


def by_depth(ladders: Sequence[Ladder]) -> Markup:
    """Return the plot of the error by depth, of all plans; empty where none has one."""
    return _drawn({ladder.title: ladder.depth for ladder in ladders}, plots.depth)


def by_step(ladders: Sequence[Ladder]) -> Markup:
    """Return the plot of the error by step, of all plans; empty where none has one."""
    return _drawn({ladder.title: ladder.steps for ladder in ladders}, plots.steps)


def _drawn(found: Mapping[str, Any], draw: Any) -> Markup:
    """The plot of what was found, which is no text to escape; empty where nothing was."""
    return Markup(draw(found)) if any(found.values()) else Markup("")
