"""What the compiled graphs make of what Hugging Face's modules were given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from compiler.inspect.ladder import walking
from compiler.inspect.ladder.nodes import Kept
from compiler.ir.graph import Graph, Node, Role
from compiler.runtime.executable import Executable
from compiler.runtime.executor import Executor, Handle
from compiler.speecht5.dropout import DropoutRows
from compiler.speecht5.refining import Unrefined, refine
from compiler.speecht5.verifying.theirs import Theirs, block_names

STEP = "decoder_step"


@dataclass(slots=True, eq=False)
class Graphs:
    """The graphs of one text, their inputs, and what was made with them.

    ``compiled`` is a ``CompiledSpeechT5`` for one row. ``given`` has each graph's inputs as tensors of the host, by the
    graph's name.
    """

    compiled: Any
    executor: Executor
    theirs: Theirs
    given: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    ends: dict[str, Kept] = field(default_factory=dict)
    """The nodes with which blocks end, as they ran, by module."""

    def block(self, name: str) -> Tensor | None:
        """What a block of our graphs gave, in the shape of Hugging Face's; ``None`` where it is fused away."""
        kept = self.ends.get(name)
        return None if kept is None else shaped(kept.results[0], self.theirs.blocks[name])

    @property
    def tokens(self) -> int:
        return self.theirs.ids.shape[1]

    def graph(self, name: str) -> Executable:
        lengths = {"text": self.tokens, "steps": self.theirs.steps}
        made: Executable = self.compiled.graph(name, **lengths)
        return made

    def encoded(self) -> Tensor:
        """Run the encoder, and keep what its blocks give; its states [text, width]."""
        executable = self.graph("encoder")
        room = executable.graph.input("input_ids").type.shape[1]
        ids = functional.pad(self.theirs.ids, (0, room - self.tokens), value=self.compiled.constants.pad_token)
        self.given["encoder"] = {"input_ids": ids, "attention_mask": self._mask(room)}
        made = self._watched("encoder", self.given["encoder"])
        return self.executor.read(made["encoder_hidden_states"])[0, : self.tokens]

    def steps(
        self, hidden: Tensor, count: int, watch: bool = False, seen: Callable[[int], None] | None = None
    ) -> Tensor:
        """Make steps from states [text, width], each from the frames that Hugging Face had: [steps, frames, mels].

        With ``watch`` what the blocks give in the last step is kept; with ``seen`` in each step, which it is told.
        """
        executor, step = self.executor, self.graph(STEP)
        once = self.graph("utterance")
        room = once.graph.input("encoder_hidden_states").type.shape[1]
        padded = functional.pad(hidden[None], (0, 0, 0, room - self.tokens))
        given = {
            "encoder_hidden_states": padded,
            "attention_mask": self._mask(room),
            "speaker_embeddings": self.theirs.speaker,
        }
        self.given["utterance"] = {port.name: given[port.name] for port in once.graph.inputs}
        known = executor.run(once, walking.load(executor, once.graph, self.given["utterance"]))
        known |= walking.load(executor, step.graph, given)
        state = {port.name: known[port.name] for port in step.graph.inputs if port.name in known}
        state |= self._begun(step, state, count)
        made = []
        for at in range(count):
            row = self._row(step.graph, at)
            state["frames"] = executor.load(self._by_replica(row), step.graph.input("frames").type)
            shown = seen is not None or (watch and at == count - 1)
            if shown:
                self.given[STEP] = {name: executor.read(handle).clone() for name, handle in state.items()}
            out = self._shown(step, state) if shown else executor.run(step, state)
            if seen is not None:
                seen(at)
            state |= {name: handle for name, handle in out.items() if name in state}
            made.append(self._frames(executor.read(out["frames"])[:1]))
        return torch.stack(made)

    def refined(self, frames: Tensor) -> Tensor:
        """The post-net on frames [steps, frames a step, mels]: [frames, mels]."""
        room = self.graph(STEP).graph.input("spectrogram_cache").type
        model = self.compiled.speech_model
        cache = torch.zeros(room.shape, dtype=torch.float32, device="cpu")
        width = model.constants.frame_width
        by_frame = cache.view(1, 1, room.shape[2], model.constants.reduction_factor, width)
        by_frame[0, 0, : len(frames), :, : model.constants.mel_bins] = frames
        handle = self.executor.load(self._by_replica(cache), room)
        postnet = {"spectrogram": cache}
        lengths = torch.arange(room.shape[2] * model.constants.reduction_factor, dtype=torch.int64, device="cpu")
        heard = (lengths < len(frames) * model.constants.reduction_factor).float()[None, :, None]
        self.given["postnet"] = postnet | {"frame_mask": heard}
        return refine(model, self.executor, Unrefined(handle, room.shape[2], (len(frames),) * self.executor.replicas))[
            0
        ]

    def _mask(self, room: int) -> Tensor:
        return (torch.arange(room, dtype=torch.int64, device="cpu") < self.tokens).float()[None]

    def _by_replica(self, rows: Tensor) -> Tensor:
        return torch.cat([rows] * self.executor.replicas)

    def _begun(self, step: Executable, known: Mapping[str, Handle], count: int) -> dict[str, Handle]:
        """What a loop begins with: zeros, and what dropout drops in all steps."""
        rows = DropoutRows(self.compiled.constants, torch.Generator().manual_seed(self.theirs.seed))
        table = rows.begin(step.graph.input("dropout_rows").type.shape)
        rows.draw(count)
        begun: dict[str, Handle] = {}
        for port in step.graph.inputs:
            type = port.value.type
            if port.name == "dropout_rows":
                begun[port.name] = self.executor.load(table, type)
            elif port.name not in known:
                zeros = torch.zeros(type.shape, dtype=type.dtype.on_host, device="cpu")
                begun[port.name] = self.executor.load(
                    zeros if Role.SHARED in port.role else self._by_replica(zeros), type
                )
        return begun

    def _row(self, graph: Graph, at: int) -> Tensor:
        """The input ``frames`` of a step: those that Hugging Face made in the step before."""
        constants = self.compiled.constants
        row = torch.zeros(graph.input("frames").type.shape, dtype=torch.float32, device="cpu")
        if at:
            by_frame = row.view(constants.reduction_factor, constants.frame_width)
            by_frame[:, : constants.mel_bins] = self.theirs.frames[at - 1]
        return row

    def _frames(self, made: Tensor) -> Tensor:
        constants = self.compiled.constants
        by_frame = made.reshape(constants.reduction_factor, constants.frame_width)
        return by_frame[:, : constants.mel_bins].clone()

    def _watched(self, name: str, inputs: Mapping[str, Tensor]) -> Mapping[str, Handle]:
        executable = self.graph(name)
        return self._shown(executable, walking.load(self.executor, executable.graph, inputs))

    def _shown(self, executable: Executable, inputs: Mapping[str, Handle]) -> Mapping[str, Handle]:
        """Run a graph, and keep what the blocks give that end in it."""
        ends = block_ends(executable.graph, block_names(self.compiled.config))

        def keep(node: Node, operands: Sequence[Tensor], results: Sequence[Tensor]) -> None:
            for name in ends.get(node, ()):
                self.ends[name] = Kept(node, tuple(operands), tuple(t.clone() for t in results))

        made: Mapping[str, Handle] = walking.run_watched(self.executor, executable, inputs, keep)
        return made


def block_ends(graph: Graph, names: Sequence[str]) -> dict[Node, list[str]]:
    """The last node of a graph that comes from each of these modules, where one does: its result is the module's."""
    ends: dict[Node, list[str]] = {}
    for name in names:
        inside = [n for n in graph.nodes if any(_within(origin.module, name) for origin in n.origins)]
        if inside:
            ends.setdefault(inside[-1], []).append(name)
    return ends


def _within(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def shaped(made: Tensor, want: Tensor) -> Tensor | None:
    """A block's result in the shape of Hugging Face's, without what padding made; ``None`` where it is another."""
    width = want.shape[-1]
    if made.numel() % width:
        return None
    rows, wanted = made.reshape(-1, width), want.reshape(-1, width)
    return rows[: len(wanted)].reshape(want.shape) if len(rows) >= len(wanted) else None


def vocoder_window(compiled: Any, spectrogram: Tensor) -> tuple[Any, dict[str, Tensor]]:
    """The vocoder's graph of its smallest window, and frames of a spectrogram for it, repeated where they are few."""
    window = compiled.vocoder.options.windows[0]
    executable = compiled.graph("vocoder", frames=window)
    times = -(-window // len(spectrogram))
    return executable, {"spectrogram": spectrogram.repeat(times, 1)[None, :window]}
