"""Run one task for :func:`compiler.benchmark.tasks.run`: ``python -m compiler.benchmark TASK ROUNDS``."""

from __future__ import annotations

import json
import sys

import torch

from compiler.benchmark.tasks import TASKS, THREADS
from compiler.speecht5.quiet import quiet

if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    with quiet():
        made = TASKS[sys.argv[1]](int(sys.argv[2]))
    print(json.dumps(made))
