"""Show the report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import jinja2
from markupsafe import Markup

from compiler.inspect.ladder import shown
from compiler.inspect.ladder.records import finite
from compiler.inspect.page import plots
from compiler.inspect.page.records import GraphPage, Report
from compiler.inspect.pictures import dot
from compiler.inspect.pictures.data import NodeData
from compiler.inspect.report import short

MOST_HOVERED = 400
"""Characters of a weight's expression that show where the mouse rests; its parameters' rows have it whole."""


def to_json(report: Report) -> str:
    """Return the records as JSON."""
    plain = finite({**asdict(report), "ladders": [each.as_dict() for each in report.ladders]})
    return json.dumps(plain, indent=1, allow_nan=False)


def to_html(report: Report) -> str:
    """Return the page. Raises ``CompilerError`` where Graphviz is not there."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("compiler.inspect", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"short": short, "us": _microseconds, "said": _said, "code": _code, "places": _places}
    environment.filters["cells"] = shown.cells
    return environment.get_template("page/page.html.jinja").render(
        report=report,
        drawn={page.name: _drawn(page) for page in report.graphs},
        ops=sorted({node.op for page in report.graphs for node in page.data.nodes}),
        memories=sorted({memory for page in report.graphs for node in page.data.nodes if (memory := _memory(node))}),
        memory_of=_memory,
        weights={
            page.name: {each.name: _cut(each.expression) for each in page.data.constants} for page in report.graphs
        },
        alone={page.name: {each.node: each for each in page.alone} for page in report.graphs},
        ladders=[(ladder, shown.title(ladder)) for ladder in report.ladders],
        columns=shown.COLUMNS,
        depth=shown.by_depth(report.ladders),
        by_step=shown.by_step(report.ladders),
        errors={page.name: {each.node: each for each in page.fidelity} for page in report.graphs},
        worst={page.name: sorted(page.fidelity, key=lambda each: -each.error)[:5] for page in report.graphs},
    )


def _cut(expression: str) -> str:
    return expression if len(expression) <= MOST_HOVERED else f"{expression[:MOST_HOVERED]}…"


def _memory(node: NodeData) -> str:
    return node.results[0].type.memory or ""


def _said(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in settings.items())


def _places(node: NodeData) -> list[tuple[str, str]]:
    """Return the lines of the model that a node comes from, by module."""
    found: dict[str, list[str]] = {}
    for origin in node.origins:
        found.setdefault(origin.module or "(root)", []).append(origin.line)
    return [(module, ", ".join(filter(None, dict.fromkeys(lines)))) for module, lines in found.items()]


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.2f}"


def _code(text: str) -> Markup:
    """Return text with what stands between double backticks as code."""
    parts = text.split("``")
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _drawn(page: GraphPage) -> dict[str, str]:
    """Return the picture of a graph, packed for the page's script, and its plots, which are no text to escape."""
    picture = dot.to_svg(page.data)
    packed = gzip.compress(picture[picture.index("<svg") :].encode(), mtime=0)
    return {
        "picture": base64.b64encode(packed).decode(),
        "costs": Markup(plots.costs(page.ops)),
        "memory": Markup(plots.memory(page.memory)),
    }
