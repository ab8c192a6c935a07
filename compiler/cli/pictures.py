"""Draw what ``inspect --format`` asks for, and write it to a file or to standard output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from compiler.errors import InvalidArgument
from compiler.output import check_file, write_whole

if TYPE_CHECKING:
    from compiler.compiled import CompiledModel
    from compiler.inspect.ladder.records import Ladder
    from compiler.ir.stages import Recorder

Format = Literal["text", "dot", "svg", "json", "model-explorer"]
FormatOption = Annotated[
    Format, typer.Option("--format", help="Print the graph as text, draw it, or write it for Model Explorer.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file, not to standard output.")
]


def check(format: Format, output: Path | None, stage: str, views: Mapping[str, bool]) -> None:
    """Raise ``InvalidArgument`` for an output that cannot be written, and for options that say something else to show.

    ``views`` says by option which of those were asked for.
    """
    for option, is_asked in views.items():
        if is_asked and (format != "text" or output is not None):
            raise InvalidArgument(f"--format and --output go without {option}, which shows something else")
    if output is not None:
        check_file(output)
    if format == "model-explorer" and output is None:
        raise InvalidArgument("--format model-explorer writes several files: name the first, as in -o graph.json")
    if format == "model-explorer" and stage != "final":
        raise InvalidArgument("--format model-explorer takes no --stage: the file holds a graph for each stage")


def show(
    compiled: CompiledModel,
    name: str,
    recorder: Recorder,
    stage: str,
    format: Format,
    output: Path | None,
    origins: bool,
    own: Ladder | None = None,
    **lengths: int,
) -> None:
    """Draw the graph ``name`` of ``recorder`` after ``stage``; print it, or write it whole to ``output``.

    ``own`` are the numbers of the plan for Model Explorer, where there are any.
    """
    from compiler.inspect import report  # noqa: PLC0415
    from compiler.inspect.pictures import data, dot  # noqa: PLC0415
    from compiler.ir.text import to_text  # noqa: PLC0415
    from compiler.target.boards import BOARDS  # noqa: PLC0415

    if format == "model-explorer":
        assert output is not None
        _explorer(compiled, name, recorder, output, own, lengths)
        return
    graph = report.at_stage(recorder, stage)
    described = data.graph_data(graph, BOARDS[compiled.options.board])
    made = {
        "text": lambda: to_text(graph, origins),
        "json": lambda: data.to_json(described),
        "dot": lambda: dot.to_dot(described).rstrip("\n"),
        "svg": lambda: dot.to_svg(described).rstrip("\n"),
    }[format]()
    if output is None:
        typer.echo(made)
    else:
        write_whole(output, f"{made}\n".encode())


def _explorer(
    compiled: CompiledModel, name: str, recorder: Recorder, output: Path, own: Ladder | None, lengths: dict[str, int]
) -> None:
    from compiler.inspect.fidelity import fidelity  # noqa: PLC0415
    from compiler.inspect.pictures import data, model_explorer  # noqa: PLC0415
    from compiler.inspect.report import changes  # noqa: PLC0415
    from compiler.ir.names import names_of  # noqa: PLC0415
    from compiler.target.boards import BOARDS  # noqa: PLC0415

    board = BOARDS[compiled.options.board]
    graphs = changes(recorder)
    last, final = list(graphs.items())[-1]
    names = names_of(final)
    errors = fidelity(compiled.graph(name, **lengths))
    measured = {last: {names[node.results[0]]: found for node, found in errors.items()}} if errors else {}
    stages = {stage: data.graph_data(graph, board) for stage, graph in graphs.items()}
    files = {output: model_explorer.to_json(stages)}
    spoken = None if own is None else {last: model_explorer.Spoken.of(own, stages[last])}
    for kind, content in model_explorer.node_data(stages, measured, spoken).items():
        files[output.with_suffix(f".{kind}.json")] = content
    for file in files:
        check_file(file)
    for file, content in files.items():
        write_whole(file, content.encode())
    beside = ",".join(str(file) for file in files if file != output)
    typer.echo(f"model-explorer {output} --node_data_paths={beside}")
