"""Print the table of docs/devices.md: all graphs on the mocks of all boards, full size and small voice, in minutes."""

from __future__ import annotations

from collections.abc import Iterator

from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions
from compiler.cli.terminal import progress_bar
from compiler.inspect.checking import BoardCheck, check
from compiler.inspect.report import short
from compiler.speecht5 import checkpoint
from compiler.speecht5.quiet import quiet

HEADER = ("model", "batch", "text", "board", "ops and types", "compiled again", "L1 a core, of", "DRAM")
STEPS = 500  # 1,000 frames


def compiled(name: str, batch: int) -> CompiledSpeechT5:
    if name == "small voice":
        model = checkpoint.load_model(str(checkpoint.SMALL_VOICE))
    else:
        model = SpeechT5ForTextToSpeech(SpeechT5Config())
    return CompiledSpeechT5(model, CompileOptions(precision="bfloat16", batch_size=batch))


def rows() -> Iterator[tuple[str, ...]]:
    for name, batch, texts in (
        ("default", 1, (32, 450)),
        ("default", 4, (32, 450)),
        ("small voice", 1, (32,)),
        ("small voice", 4, (32,)),
    ):
        model = compiled(name, batch)
        for text in texts:
            with quiet(), progress_bar() as stage:
                found = check(model, text=text, steps=STEPS, progress=stage)
            yield from (row(name, batch, text, board) for board in found)


def row(name: str, batch: int, text: int, found: BoardCheck) -> tuple[str, ...]:
    graphs = found.graphs
    ops, equal = sum(graph.ops for graph in graphs), sum(graph.equal for graph in graphs)
    most = max(graphs, key=lambda graph: graph.l1_bytes)
    several = f" x{found.devices}" if found.devices > 1 else ""
    return (
        name,
        str(batch),
        str(text),
        f"{found.board} {found.grid[0]}x{found.grid[1]}{several}",
        f"{equal}/{ops}",
        str(sum(graph.compiled_again for graph in graphs)),
        f"{short(most.l1_bytes, 'B')}, {short(most.l1_limit, 'B')}",
        short(max(graph.dram_bytes for graph in graphs), "B"),
    )


if __name__ == "__main__":
    for cells in (HEADER, ("---",) * len(HEADER)):
        print(f"| {' | '.join(cells)} |", flush=True)
    for cells in rows():
        print(f"| {' | '.join(cells)} |", flush=True)
