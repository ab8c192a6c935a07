"""Search the graphs of a SpeechT5 for nodes that are wrong: by module, by stage, and by what an executor computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from compiler.device.executor import TtnnExecutor
from compiler.errors import InvalidArgument
from compiler.inspect.checking import drawn
from compiler.inspect.ladder import nodes, reproduce, stages, walking
from compiler.inspect.ladder.nodes import Kept
from compiler.inspect.ladder.records import FORMAT, Search, WrongNode, measure
from compiler.runtime.executor import Executor
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5.quiet import quiet
from compiler.speecht5.verifying.asked import Subject
from compiler.speecht5.verifying.ours import STEP, Graphs, vocoder_window
from compiler.speecht5.verifying.theirs import spoken

MODULES, STAGES, PLANS, NODES = "modules", "graphs through their stages", "graphs with the other plan's", "nodes"
STEPS = 8
"""Steps that are made before a step's nodes are looked at: its caches hold something then."""
_OWN = ("encoder", "utterance", STEP, "postnet")


def search(
    compiled: Any,
    subject: Subject,
    executor: Executor,
    *,
    graphs: Sequence[str] = (),
    device: str = "",
    folder: Path | None = None,
    beside: Any = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Search:
    """Find the first wrong node of each graph, by three comparisons, each of which explains away what came before.

    The plan in float32 beside Hugging Face's modules, block by block; the plan in float32 beside the imported program,
    stage by stage; and what ``executor`` computed beside float32 arithmetic on the same operands, node by node. For the
    first node that is wrong on an executor a script goes to a new ``folder``. ``beside`` is another plan of the model:
    graphs are compared with its graphs, too.

    Raises ``InvalidArgument`` for a saved float32 model, ``Refused`` where ttnn refuses an op.
    """
    if compiled.saved and compiled.options.precision == "float32":
        raise InvalidArgument(
            "a saved float32 model has nothing to compare, no modules, no stages and no roundings: name its checkpoint"
        )
    asked = tuple(graphs) or compiled.names
    counted: dict[str, int] = {}
    wrong: list[WrongNode] = []
    with quiet():
        if not compiled.saved:
            progress("the modules")
            wrong += _by_module(compiled, subject, asked, counted)
            for name in asked:
                progress(f"the stages of {name}")
                found = stages.wrong_stage(compiled, name, text=subject.ids.shape[1], steps=STEPS)
                counted[STAGES] = counted.get(STAGES, 0) + 1
                wrong += [] if found is None else [found]
                if beside is not None:
                    found = stages.wrong_beside(compiled, beside, name, text=subject.ids.shape[1], steps=STEPS)
                    counted[PLANS] = counted.get(PLANS, 0) + 1
                    wrong += [] if found is None else [found]
        if compiled.options.precision != "float32":
            wrong += _by_node(compiled, subject, executor, asked, counted, device, folder, progress)
    where = walking.where(executor, compiled.options.precision, device)
    return Search(FORMAT, where, counted, tuple(wrong))


def _by_module(compiled: Any, subject: Subject, asked: Sequence[str], counted: dict[str, int]) -> Iterator[WrongNode]:
    """The first block of the float32 plan that is not Hugging Face's."""
    if not {"encoder", STEP} & set(asked):
        return
    exact = compiled.with_plan(precision="float32", weights="bfloat16")
    theirs = spoken(exact.source.model, None, subject.ids, subject.speaker, subject.seed, STEPS)
    ours = Graphs(exact, ReferenceExecutor(), theirs)
    ours.steps(ours.encoded(), STEPS, watch=True)
    for name, want in theirs.blocks.items():
        made = ours.block(name)
        if made is None:
            continue
        counted[MODULES] = counted.get(MODULES, 0) + 1
        found = measure(made, want)
        if found.error > stages.BAR:
            graph = "encoder" if ".encoder." in f".{name}" and ".decoder." not in name else STEP
            why = f"error {found.error:.3g} and PCC {found.pcc:.5f} of {name}; what runs before it is right"
            compared = "the plan in float32 with Hugging Face's modules"
            yield nodes.described(graph, ours.ends[name], None, compared, why, found)
            return


def _by_node(
    compiled: Any,
    subject: Subject,
    executor: Executor,
    asked: Sequence[str],
    counted: dict[str, int],
    device: str,
    folder: Path | None,
    progress: Callable[[str], None],
) -> Iterator[WrongNode]:
    given = {} if compiled.saved else _inputs(compiled, subject)
    lengths = {"text": subject.ids.shape[1], "steps": STEPS}
    first: Kept | None = None
    for name in asked:
        progress(f"the nodes of {name}")
        own = compiled.lengths_of(name, lengths)
        executable, inputs = given.get(name) or (compiled.graph(name, **own), None)
        judged = nodes.judge_nodes(executor, executable, drawn(executable) if inputs is None else inputs)
        counted[NODES] = counted.get(NODES, 0) + len(judged.nodes)
        spec = nodes.spec_of(executor, executable)
        by = device or ("the device" if isinstance(executor, TtnnExecutor) else "the reference executor")
        record = nodes.first_wrong(judged, spec, f"{by} with {nodes.FLOAT32}")
        if record is None:
            continue
        if folder is not None and first is None:
            first = judged.first
            assert first is not None
            script = reproduce.write(folder, first, spec, f"{record.op} from {record.origins[0]}: {record.why}")
            record = nodes.with_script(record, str(script))
        yield record


def _inputs(compiled: Any, subject: Subject) -> dict[str, Any]:
    """The graphs that speech runs, each with its inputs in this speech, as the reference executor made them."""
    theirs = spoken(compiled.source.model, None, subject.ids, subject.speaker, subject.seed, STEPS)
    ours = Graphs(compiled, ReferenceExecutor(), theirs)
    ours.steps(ours.encoded(), STEPS, watch=True)
    ours.refined(theirs.frames)
    found: dict[str, Any] = {}
    for name in _OWN:
        executable = ours.graph(name)
        if all(port.name in ours.given[name] for port in executable.graph.inputs):
            shapes = {port.name: port.value.type.shape for port in executable.graph.inputs}
            inputs = {port: ours.given[name][port] for port in shapes}
            if all(tuple(inputs[port].shape) == shape for port, shape in shapes.items()):
                found[name] = executable, inputs
    if compiled.vocoder is not None:
        found["vocoder"] = vocoder_window(compiled, theirs.refined)
    return found


def check_graphs(compiled: Any, graphs: Sequence[str]) -> None:
    """Raise ``InvalidArgument`` for a graph that the model does not have."""
    for name in graphs:
        if name not in compiled.names:
            raise InvalidArgument(f"there is no graph {name!r}: choose one of {', '.join(compiled.names)}")
