"""Define the tasks, each of which runs in its own process, with cold caches, and prints JSON on stdout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parents[2]
THREADS = 2
"""Number of torch's threads in every task."""


class TaskFailed(Exception):
    """A task whose process ended with an error; the message is the last line that it printed."""


class NoSuchTask(TaskFailed):
    """Another revision does not have the task."""


def run(task: str, rounds: int, tree: Path | None = None) -> dict[str, Any]:
    """Run a task in its own process, with an empty cache of ``torch.compile``. Raises :class:`TaskFailed`.

    ``tree`` is the folder of another revision of this project, whose task then runs.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as cache:
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache, "OMP_NUM_THREADS": str(THREADS)}
        # Before the installed package, and not (-P) a package of the same name in the current folder.
        paths = [str(_HERE if tree is None else tree), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        done = subprocess.run(
            [sys.executable, "-P", "-m", "compiler.benchmark", task, str(rounds)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=tree,
        )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}"
        raise (NoSuchTask if said == f"KeyError: {task!r}" else TaskFailed)(said)
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def step(rounds: int) -> dict[str, Any]:
    """Time a decoder step in seconds: ours, Hugging Face's, its compiled form, and a sweep of the matrices."""
    import torch  # noqa: PLC0415

    from compiler.benchmark import contenders  # noqa: PLC0415
    from compiler.benchmark.timing import interleaved  # noqa: PLC0415

    loaded = contenders.model()
    theirs, inputs = contenders.HuggingFaceStep(loaded), contenders.step_inputs(loaded)
    compiled = torch.compile(theirs)
    timed: dict[str, Callable[[], object]] = {
        "ours": contenders.our_step(contenders.compiled(loaded)),
        "eager": torch.no_grad()(lambda: theirs(*inputs)),
        "compiled": torch.no_grad()(lambda: compiled(*inputs)),
        "sweep": contenders.sweep(loaded),
    }
    failed = {}
    try:
        timed["compiled"]()
    except Exception as error:  # usually a missing C++ compiler, which the other rows do not need
        failed["compiled"] = str(error).strip().splitlines()[0]
        del timed["compiled"]
    return {**interleaved(timed, rounds, calls=15), "failed": failed}


def speech(rounds: int) -> dict[str, Any]:
    """Time an utterance in seconds, ours and Hugging Face's, and compare the two spectrograms."""
    from compiler.benchmark import contenders  # noqa: PLC0415
    from compiler.benchmark.timing import interleaved  # noqa: PLC0415

    loaded = contenders.model()
    graphs = contenders.compiled(loaded)
    ours, theirs = contenders.speech(graphs), contenders.speech(loaded)
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    both = {"ours": lambda: contenders.speech(graphs), "theirs": lambda: contenders.speech(loaded)}
    return {**interleaved(both, rounds, calls=1), "error": error}


def vocoder(rounds: int) -> dict[str, Any]:
    """Time the vocoder in seconds: ours, ours uncut, Hugging Face's, and its compiled form."""
    import torch  # noqa: PLC0415

    from compiler.benchmark import contenders  # noqa: PLC0415
    from compiler.benchmark.timing import interleaved  # noqa: PLC0415

    loaded, spectrogram = contenders.vocoder(), contenders.spectrogram()
    ours, uncut = contenders.compiled_vocoder(loaded), contenders.compiled_vocoder(loaded, windows=(contenders.FRAMES,))
    compiled: Any = torch.compile(loaded)
    timed: dict[str, Callable[[], object]] = {
        "ours": lambda: ours(spectrogram),
        "uncut": lambda: uncut(spectrogram),
        "eager": torch.no_grad()(lambda: loaded(spectrogram)),
        "compiled": torch.no_grad()(lambda: compiled(spectrogram)),
    }
    made, theirs = ours(spectrogram), timed["eager"]()
    assert isinstance(theirs, torch.Tensor)
    error = float((made - theirs).abs().max() / theirs.abs().max())
    failed = {}
    try:
        timed["compiled"]()
    except Exception as refusal:  # as in a step
        failed["compiled"] = str(refusal).strip().splitlines()[0]
        del timed["compiled"]
    return {**interleaved(timed, rounds, calls=2), "error": error, "failed": failed}


def sound(rounds: int) -> dict[str, Any]:
    """Time a text to sound in seconds: ours, Hugging Face's, and ours until the first sound of a stream is there."""
    from compiler.benchmark import contenders  # noqa: PLC0415
    from compiler.benchmark.timing import interleaved  # noqa: PLC0415

    loaded, vocoder = contenders.model(), contenders.vocoder()
    graphs, sounding = contenders.compiled(loaded), contenders.compiled_vocoder(vocoder)
    ours, theirs = contenders.speech(graphs, vocoder=sounding), contenders.speech(loaded, vocoder=vocoder)
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    timed: dict[str, Callable[[], object]] = {
        "ours": lambda: contenders.speech(graphs, vocoder=sounding),
        "first": lambda: contenders.first_sound(graphs, sounding),
        "theirs": lambda: contenders.speech(loaded, vocoder=vocoder),
    }
    return {**interleaved(timed, rounds, calls=1), "error": error}


def peers(rounds: int) -> dict[str, Any]:
    """Time a text to sound in seconds, ours and OpenVINO's in its own process; ``absent`` says why there is none."""
    from compiler.benchmark import contenders, peers  # noqa: PLC0415

    python = peers.interpreter()
    if python is None:
        return {"absent": "its environment was not made, which bench --peers does"}
    graphs, sounding = contenders.compiled(contenders.model()), contenders.compiled_vocoder(contenders.vocoder())
    expected = contenders.speech(graphs, vocoder=sounding).numel()
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    with peers.openvino(python, contenders.TOKENS, contenders.STEPS) as peer:
        if int(peer.ready) != expected:
            raise TaskFailed(f"OpenVINO made {peer.ready} samples of what are {expected}")

        def ours() -> float:
            begin = time.perf_counter()
            contenders.speech(graphs, vocoder=sounding)
            return time.perf_counter() - begin

        sides = {"ours": ours, "theirs": peer.seconds}
        for turn in range(rounds):
            for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
                seconds[name].append(sides[name]())
    return {**seconds, "absent": ""}


def compiling(_: int) -> dict[str, Any]:
    """Time compiling in seconds.

    ``step``: until our step has run once. ``all``: until all graphs of its bucket are compiled. ``further``: for all
    graphs of another bucket. ``exact`` and ``another``: for a post-net of exact length, and for one of another length.
    """
    from compiler.benchmark import contenders  # noqa: PLC0415

    loaded = contenders.model()
    begin = time.perf_counter()
    graphs = contenders.compiled(loaded)
    contenders.our_step(graphs)()
    first = time.perf_counter()
    contenders.compile_all(graphs)
    every = time.perf_counter()
    contenders.compile_all(graphs, text=2 * contenders.TOKENS, steps=2 * contenders.CACHE)
    bucket = time.perf_counter()
    exact = contenders.compiled(loaded, postnet="exact")
    exact.graph("postnet", steps=contenders.STEPS).prepare()
    one = time.perf_counter()
    exact.graph("postnet", steps=contenders.STEPS + 1).prepare()
    return {
        "step": first - begin,
        "all": every - begin,
        "further": bucket - every,
        "exact": one - bucket,
        "another": time.perf_counter() - one,
    }


def inductor(_: int) -> dict[str, Any]:
    """Time the first call of ``torch.compile`` on Hugging Face's step, in seconds."""
    import torch  # noqa: PLC0415

    from compiler.benchmark import contenders  # noqa: PLC0415

    loaded = contenders.model()
    theirs, inputs = contenders.HuggingFaceStep(loaded), contenders.step_inputs(loaded)
    begin = time.perf_counter()
    with torch.no_grad():
        torch.compile(theirs)(*inputs)
    return {"first_call": time.perf_counter() - begin}


def layers(rounds: int) -> dict[str, Any]:
    """Time compiling all graphs with the default and with twice the layers, in seconds, in a warm process."""
    from compiler.benchmark import contenders  # noqa: PLC0415

    models = {"once": contenders.model(), "twice": contenders.model(layers=2)}
    contenders.compile_all(contenders.compiled(models["once"]))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, loaded in models.items():
            begin = time.perf_counter()
            contenders.compile_all(contenders.compiled(loaded))
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def memory(_: int) -> dict[str, Any]:
    """Measure by how many bytes compiling all graphs of a bucket raises peak memory, and the size of the weights."""
    from compiler.benchmark import contenders  # noqa: PLC0415

    loaded = contenders.model()
    weights = sum(t.numel() * t.element_size() for t in [*loaded.parameters(), *loaded.buffers()])
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status("VmRSS")
    contenders.compile_all(contenders.compiled(loaded))
    return {"growth": _status("VmHWM") - before, "weights": weights}


def _status(field: str) -> int:
    """Read a figure of this process in bytes from Linux's ``/proc``."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


TASKS: dict[str, Callable[[int], dict[str, Any]]] = {
    task.__name__: task for task in (step, speech, vocoder, sound, peers, compiling, inductor, layers, memory)
}
"""Tasks by name. Each takes the number of rounds."""
