"""Show what many readings say of a plan, and where the readings that depart come from."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from compiler.inspect.ladder.records import finite
from compiler.speecht5.verifying.departures import Departure
from compiler.speecht5.verifying.readings import Reading, Readings, Spoken, by_chance


def summary(found: Sequence[Readings]) -> Table:
    """Return a table with a row for each plan: how often it departs from float64, beside Hugging Face's own."""
    shown = Table(title="free-running readings, compared with Hugging Face in float64")
    for column in ("plan", "beside", "stop elsewhere", "miss the bar", "ours the further", "median error", "worst"):
        shown.add_column(column)
    shown.add_column("alike", justify="right")
    shown.add_column("", no_wrap=True)
    for each in found:
        ours, theirs = each.errors("ours"), each.errors("theirs")
        count = len(each.readings)
        shown.add_row(
            each.title,
            each.theirs,
            str(each.stops),
            f"{each.missed} ({each.bar})",
            f"{each.further} of {count}; chance allows {by_chance(count)}",
            f"{statistics.median(ours):.1e}, theirs {statistics.median(theirs):.1e}",
            f"{max(ours):.1e}, theirs {max(theirs):.1e}",
            "–" if math.isnan(each.alike) else f"{each.alike:.2f}",
            "pass" if each.passed else "FAIL",
        )
    return shown


def departing(found: Readings) -> Table:
    """Return a table with a row for each reading of which either side misses the bar."""
    shown = Table(title=f"{found.title}: readings of which either side misses the bar ({found.bar})")
    for column in ("text", "speaker", "seed", "stop", "ours", "theirs"):
        shown.add_column(column, justify="right" if column in ("seed", "stop") else "left")
    for each in found.departing:
        sides = (_side(each, side) for side in (each.ours, each.theirs))
        shown.add_row(each.text, each.speaker, str(each.seed), str(each.stop), *sides)
    return shown


def traced(found: Sequence[Departure], title: str) -> Table:
    """Return a table with a row for each traced reading: what its steps, its nodes and single roundings do."""
    shown = Table(title=f"{title}: why they depart")
    columns = ("reading", "ours", "theirs", "steps by themselves", "departs at", "worst node there")
    for column in (*columns, "only fed frames rounded", "only weights rounded", "one node alone"):
        shown.add_column(column)
    for each in found:
        reading = each.reading
        shown.add_row(
            f"{reading.text}, {reading.speaker} {reading.seed}",
            _side(reading, reading.ours),
            _side(reading, reading.theirs),
            f"{each.forced.error:.1e}",
            "–" if each.at is None else f"step {each.at} of {reading.stop}",
            "–" if each.worst is None else f"{each.worst.excess:.2f} of what {each.worst.op} explains",
            _side(reading, each.fed),
            "–" if each.weights is None else _side(reading, each.weights),
            _alone(each),
        )
    return shown


def _alone(found: Departure) -> str:
    errors = [each.spoken.measured.error for each in found.alone]
    if not errors:
        return "–"
    most = found.alone[0]
    moved = sum(each.spoken.stop != found.reading.stop for each in found.alone)
    said = f"{most.node}: {errors[0]:.1e}; median of {len(errors)} nodes: {statistics.median(errors):.1e}"
    return said + (f"; {moved} move the stop" if moved else "")


def _side(reading: Reading, side: Spoken) -> str:
    stop = "" if side.stop == reading.stop else f"stops at {side.stop}; "
    return f"{stop}{side.measured.error:.1e}, PCC {side.measured.pcc:.4f}"


def misses(found: Readings) -> list[str]:
    """Return a line for each figure by which a plan is further off than Hugging Face's own roundings."""
    lines, count = [], len(found.readings)
    if found.further > by_chance(count):
        lines.append(f"ours is the further one in {found.further} of {count}, where chance allows {by_chance(count)}")
    for what, each in (("stop elsewhere", found.stops), ("miss the bar", found.missed)):
        if not each.passed:
            allowed = by_chance(each.ours + each.theirs)
            lines.append(f"{each.ours} {what} in ours alone and {each.theirs} in theirs alone: chance allows {allowed}")
    return [f"{found.title}, readings: {line}" for line in lines]


def to_json(found: Sequence[Readings], departures: Sequence[Sequence[Departure]]) -> str:
    """Return the records as JSON."""
    plans = [
        {**each.as_dict(), "departures": [finite(asdict(departure)) for departure in traced]}
        for each, traced in zip(found, departures, strict=True)
    ]
    return json.dumps({"passed": all(each.passed for each in found), "plans": plans}, indent=1, allow_nan=False)
