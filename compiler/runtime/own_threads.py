"""How many threads torch computes on, set for the calling thread alone.

``torch.set_num_threads`` sets two numbers: the calling thread's, which OpenMP and MKL keep, and the process's, which
each thread takes over when it first uses torch. torch has nothing that sets the first alone. What it calls for it has:
OpenMP's ``omp_set_num_threads`` and MKL's ``MKL_Set_Num_Threads_Local``, both documented as a thread's own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Setters:
    """What sets the calling thread's number in OpenMP, and in MKL, where that gives the number of before.

    MKL's is zero where the thread has none of its own.
    """

    openmp: Callable[[int], object]
    mkl: Callable[[int], int]


@cache
def setters() -> Setters | None:
    """Find the setters of the libraries that torch computes with; ``None`` where this torch has others.

    A thread's number is changed and put back, to see whether torch goes by it: a process may hold several OpenMPs.
    """
    before = torch.get_num_threads()
    try:
        linked = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        mkl = linked.MKL_Set_Num_Threads_Local if torch.backends.mkl.is_available() else _no_mkl  # type: ignore[no-untyped-call]
        for libraries in (ctypes.CDLL(None), linked):  # what was preloaded comes before what torch was linked with
            openmp = getattr(libraries, "omp_set_num_threads", None)
            if openmp is not None:
                openmp(before + 1)
                heeded = torch.get_num_threads() == before + 1
                openmp(before)
                if heeded:
                    return Setters(openmp, mkl)
    except (OSError, AttributeError):  # no such file, or no such function in it
        pass
    return None


def _no_mkl(_: int) -> int:
    return 0
