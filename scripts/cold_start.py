"""Print CPU seconds of ``speak`` on the small voice: from the checkpoint, and from a saved model."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPEAK = ("-m", "compiler", "speak", "four nine three", "-o", "speech.wav")
LIBRARIES = re.compile(r"\| +(transformers|torch\._dynamo|compiler\.frontend|ttnn)$", re.MULTILINE)


def seconds(folder: Path, *arguments: str) -> float:
    """CPU seconds of a Python process, its children included, run in ``folder``."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imported(folder: Path, *arguments: str) -> list[str]:
    """Which of the heavy libraries a process imports."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "importtime", *arguments]
    made = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return sorted(set(LIBRARIES.findall(made.stderr)))


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        saved = (*SPEAK, "--model", "saved")
        rows = [("import torch", seconds(folder, "-c", "import torch"))]
        rows.append(("speak from the checkpoint", seconds(folder, *SPEAK)))
        rows.append(("compile -o", seconds(folder, "-m", "compiler", "compile", "-o", "saved")))
        rows.append(("speak from the saved model", seconds(folder, *saved)))
        rows.append(("import torch, again", seconds(folder, "-c", "import torch")))
        for what, taken in rows:
            print(f"{what:40} {taken:6.2f} CPU s")
        heavy = ", ".join(imported(folder, *saved)) or "none"
        print(f"from the saved model, heavy imports beside torch: {heavy}")


if __name__ == "__main__":
    main()
