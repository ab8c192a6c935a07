"""The rooms of the house: the picture in the docs is that of the linter, and the linter finds what breaks it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
(LAYERS,) = (contract["layers"] for contract in LINTER["contracts"] if contract["type"] == "layers")


def rooms(line: str) -> set[str]:
    return {room.strip().removeprefix("compiler.") for room in re.split("[|:]", line)}


def test_the_picture_shows_the_layers_that_are_linted() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    (picture,) = re.findall(r"## Rooms\n\n```\n(.*?)```", page, re.DOTALL)
    drawn = [set(re.split(r" {3,}", line.strip())[0].split()) for line in picture.splitlines()]
    layers = list(map(rooms, LAYERS))
    assert drawn[0] == layers[0] | layers[1], "the command line and the benchmark share a line"
    assert drawn[1:] == layers[2:]


def test_every_module_is_in_a_room() -> None:
    known = set().union(*map(rooms, LAYERS))
    found = {
        path.stem for path in (ROOT / "compiler").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - {"__init__", "__main__"} | {"lowering", "passes"} == known


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("compiler/ir/types.py", "from compiler.dialects import aten", "Arrows run down from room to room"),
        ("compiler/inspect/report.py", "import compiler.speecht5.sound", "Arrows run down from room to room"),
        ("passes/base.py", "import lowering.rules", "Arrows run down from room to room"),
        ("compiler/compiled/tracing.py", "from passes import base", "The pipeline alone knows passes and rules"),
        ("compiler/runtime/reference.py", "import ttnn", "ttnn is imported in compiler.device only"),
        ("compiler/frontend/trace.py", "import transformers", "transformers is imported in"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, file: str, line: str, broken: str) -> None:
    for package in ("compiler", "lowering", "passes"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=lambda folder, names: [
            name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()
        ])  # fmt: skip
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / file
    path.write_text(f"{path.read_text()}\n{line}\n")
    lint = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
    run = subprocess.run([sys.executable, "-c", lint], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert re.search(rf"{broken}.* BROKEN", run.stdout), run.stdout


@pytest.mark.parametrize("line", ["import torch.fx", "from torch import fx", "from torch.export import export"])
def test_tracing_elsewhere_than_in_the_frontend_is_found(line: str) -> None:
    """import-linter sees packages of others as wholes, so this rule is ruff's."""

    def found(file: str) -> str:
        ruff = [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--no-cache",
            "--select",
            "TID251",
            "--stdin-filename",
            file,
            "-",
        ]
        return subprocess.run(ruff, cwd=ROOT, input=f"{line}\n", capture_output=True, text=True, check=False).stdout

    assert "TID251" in found("compiler/inspect/report.py")
    assert "TID251" not in found("compiler/frontend/trace.py")
