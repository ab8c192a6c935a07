"""Print CPU seconds of ``speak`` on the small voice: from the checkpoint, first and again, and from a saved model.

With ``--full-size``, print those of a step of transformers' default model instead: compiled, and from a saved model.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPEAK = ("-m", "compiler", "speak", "four nine three", "-o", "speech.wav")
LIBRARIES = re.compile(r"\| +(transformers|torch\._dynamo|compiler\.frontend|passes|ttnn)$", re.MULTILINE)


def _environment(folder: Path) -> dict[str, str]:
    traces = {"SPEECHT5_TTNN_TRACES": str(folder / "traces")}
    return {**os.environ, **traces, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def seconds(folder: Path, *arguments: str) -> float:
    """CPU seconds of a Python process, its children included, run in ``folder``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=folder, env=_environment(folder), check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported(folder: Path, *arguments: str) -> list[str]:
    """Which of the heavy libraries a process imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    made = subprocess.run(command, cwd=folder, env=_environment(folder), check=True, capture_output=True, text=True)
    return sorted(set(LIBRARIES.findall(made.stderr)))


STEP = """
import json, resource, sys, time
import torch
import compiler

saved = "--saved" in sys.argv
if not saved:
    from transformers import SpeechT5Config, SpeechT5ForTextToSpeech
    model = SpeechT5ForTextToSpeech(SpeechT5Config()).eval()
begin = time.process_time()
if saved:
    compiled = compiler.load("saved")
else:
    compiled = compiler.CompiledSpeechT5(model, compiler.CompileOptions(precision=sys.argv[1]), owned=True)
made = time.process_time()
ids = torch.full((1, 8), 7)
frames = compiled.generate_speech(ids, torch.zeros(1, 512), threshold=0.0, maxlenratio=0.25)
spoken = time.process_time()
print(json.dumps([made - begin, spoken - made, frames.abs().sum().item()]))
if not saved:
    compiler.save(compiled, "saved", text=8, steps=1)
"""


def _step(folder: Path, *arguments: str) -> tuple[float, float, float]:
    command = [sys.executable, "-c", STEP, *arguments]
    made = subprocess.run(command, cwd=folder, env=_environment(folder), check=True, stdout=subprocess.PIPE, text=True)
    before, step, total = json.loads(made.stdout)
    return before, step, total


def full_size(folder: Path) -> None:
    """Print the CPU seconds of a speech of one step, after torch is imported and the model made."""
    compiling = _step(folder, "float32")
    loading = _step(folder, "--saved")
    for what, (made, step, _) in (("compile", compiling), ("load", loading)):
        print(f"{f'full size: {what}, first step':40} {made + step:6.2f} CPU s ({made:.2f} and {step:.2f})")
    print(f"{'ratio, at most 0.2 is asked for':40} {sum(loading[:2]) / sum(compiling[:2]):6.2f}")


def small(folder: Path) -> None:
    """Print the CPU seconds of whole processes, and what the last of them imports."""
    saved = (*SPEAK, "--model", "saved")
    rows = [("import torch", seconds(folder, "-c", "import torch"))]
    rows.append(("speak from the checkpoint", seconds(folder, *SPEAK)))
    rows.append(("speak from the checkpoint, again", seconds(folder, *SPEAK)))
    rows.append(("compile -o", seconds(folder, "-m", "compiler", "compile", "-o", "saved")))
    rows.append(("speak from the saved model", seconds(folder, *saved)))
    rows.append(("import torch, again", seconds(folder, "-c", "import torch")))
    for what, taken in rows:
        print(f"{what:40} {taken:6.2f} CPU s")
    for what, command in (("the checkpoint, again", SPEAK), ("the saved model", saved)):
        print(f"from {what}, heavy imports beside torch: {', '.join(imported(folder, *command)) or 'none'}")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        (full_size if "--full-size" in sys.argv[1:] else small)(Path(place))


if __name__ == "__main__":
    main()
