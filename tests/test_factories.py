"""Each tensor that our code makes has a dtype and a device that the code names.

What it leaves out, torch fills in from its defaults, and these are the caller's: speech would be rounded after
``torch.set_default_dtype(torch.bfloat16)``. So calls are found in the source, also those that no test runs under
another default.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._device import _device_constructors

from compiler.torch_state import _OF_DEFAULT_DTYPE

ROOT = Path(__file__).parent.parent
FACTORIES = {function.__name__.removeprefix("fft_") for function in _device_constructors()} | {"normal"}
"""torch's own list of functions that ask for the default device: these ask for the default dtype, too."""
OF_DEFAULTS = {"Tensor", "get_default_dtype", "set_default_dtype", "set_default_device"}
"""Called at all, they read a default, or change it for the whole process."""
MODULES = {
    name for name, kind in vars(nn).items() if inspect.isclass(kind) and "dtype" in inspect.signature(kind).parameters
}
"""Modules that make their parameters: ``nn.Linear``."""


def faults(source: str) -> Iterator[str]:
    """Each call that takes a default of torch's: its line, the function, and what it does not name."""
    tree = ast.parse(source)
    names = {}  # what a bare name stands for: `from torch import zeros as nothing`
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "torch":
            names.update({each.asname or each.name: f"{node.module}.{each.name}" for each in node.names})
        elif isinstance(node, ast.Import):
            names.update({each.asname: each.name for each in node.names if each.asname})
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        first, *rest = ast.unparse(node.func).split(".")
        path = ".".join([names.get(first, first), *rest])
        name = path.rpartition(".")[2]
        if not path.startswith("torch.") or name not in FACTORIES | OF_DEFAULTS | MODULES:
            continue
        missing = {"dtype", "device"} - {keyword.arg for keyword in node.keywords}
        if name in OF_DEFAULTS:
            yield f"{node.lineno}: {path}"
        elif missing:
            yield f"{node.lineno}: {path} without {' and '.join(sorted(missing))}"


def test_all_that_is_made_has_a_named_dtype_and_device() -> None:
    paths = [path for room in ("compiler", "lowering", "passes") for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(paths) > 300
    assert [f"{path.relative_to(ROOT)}:{fault}" for path in paths for fault in faults(path.read_text())] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("torch.zeros(2)", "torch.zeros without device and dtype"),
        ("torch.tensor([1.0], device='cpu')[0].sum()", "torch.tensor without dtype"),
        ("torch.full(shape, 1.0, dtype=x.dtype)", "torch.full without device"),
        ("torch.fft.fftfreq(3)", "torch.fft.fftfreq without device and dtype"),
        ("torch.nn.Linear(2, 3)", "torch.nn.Linear without device and dtype"),
        ("torch.Tensor(2)", "torch.Tensor"),
        ("torch.set_default_dtype(torch.float32)", "torch.set_default_dtype"),
        ("from torch import zeros as nothing; nothing(2)", "torch.zeros without device and dtype"),
        ("from torch import nn; nn.Conv1d(2, 3, 1)", "torch.nn.Conv1d without device and dtype"),
        ("import torch as t; t.eye(2)", "torch.eye without device and dtype"),
    ],
)  # fmt: skip
def test_a_planted_call_is_found(source: str, found: str) -> None:
    assert list(faults(source)) == [f"1: {found}"]


def test_a_call_that_names_both_is_none() -> None:
    assert not list(faults("torch.ones(2, dtype=x.dtype, device='cpu') + x.new_zeros(2) + torch.zeros_like(x)"))
    assert not list(faults("np.zeros(2); builder.tensor(x); Tensor(x)"))


def test_what_a_trace_names_is_known_here() -> None:
    assert {function.__name__ for function in _OF_DEFAULT_DTYPE} <= FACTORIES
    assert torch.zeros in _OF_DEFAULT_DTYPE
