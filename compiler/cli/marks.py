"""What in the text of a graph, and in a diff of it, has a colour."""

from __future__ import annotations

from rich.highlighter import RegexHighlighter
from rich.text import Text
from rich.theme import Theme

STYLES = Theme(
    {
        "graph.keyword": "bold",
        "graph.value": "cyan",
        "graph.type": "green",
        "graph.op": "bold blue",
        "graph.name": "yellow",
        "graph.origin": "dim",
        "graph.added": "green",
        "graph.removed": "red",
        "graph.place": "magenta",
    }
)


class GraphHighlighter(RegexHighlighter):
    """Marks what a line of a graph's text consists of."""

    base_style = "graph."
    highlights = (  # later ones win
        r"^\s*(?P<keyword>graph(?= )|inputs:|constants:|nodes:|outputs:|[a-z][a-z ]+:$)",
        r"(?P<name>\b[a-z_]\w*(?==))",
        r'(?P<value>%(?:"[^"]*"|[\w.]+))',
        r"(?P<type>\b(?:f32|bf16|bfp8|i64|i32|u32|u16|bool)\[[\d,]*\])",
        r"(?P<type> (?:tile|row_major)(?: \w+)?(?:\(\d+\))?)",
        r"(?P<op>\b(?:aten|ttnn)\.[\w.]+)",
        r"(?P<origin>  # .*$)",
    )


class DiffHighlighter(GraphHighlighter):
    """The same for lines of a unified diff: what was added or removed has one colour."""

    def highlight(self, text: Text) -> None:
        """Style one line by its first character."""
        line = text.plain
        if line.startswith(("+++", "---")):
            text.stylize("bold")
        elif line.startswith("@@"):
            text.stylize("graph.place")
        elif line.startswith("+"):
            text.stylize("graph.added")
        elif line.startswith("-"):
            text.stylize("graph.removed")
        else:
            super().highlight(text)
