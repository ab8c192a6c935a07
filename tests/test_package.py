"""The package as people install it: a wheel, its program, its types and what it says of itself."""

from __future__ import annotations

import ast
import os
import shutil
import site
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import soundfile
from typer.testing import CliRunner

import compiler
from compiler import CompileOptions, VocoderOptions, versions
from compiler.cli import app
from compiler.compiled import CompiledModel
from compiler.speecht5.options import CompileArguments
from compiler.speecht5.vocoder_options import VocoderArguments
from compiler.target.options import PlanArguments, PlanChanges, PlanOptions

ROOT = Path(__file__).parent.parent
PACKAGES = ("compiler", "lowering", "passes")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


def data_of(folder: Path) -> set[str]:
    """Files of the packages in a folder that are not Python's."""
    found = (path for package in PACKAGES for path in (folder / package).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in found if path.suffix not in (".py", ".pyc")}


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    given: dict[str, Any] = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 300} | options
    done = subprocess.run([str(each) for each in command], check=False, **given)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the project's wheel of its own; libraries are those of this one."""
    base = tmp_path_factory.mktemp("package")
    source, made = base / "source", base / "environment"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", base, source)
    (wheel,) = base.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", made)
    (packages,) = made.glob("lib/python*/site-packages")
    # As a path alone, so that what this environment's own installation of the project adds to imports is left out.
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    run(*pip, "--python", made / "bin" / "python", "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    return made


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder that has nothing to do with the project but a package with its package's name."""
    (tmp_path / "compiler").mkdir()
    (tmp_path / "compiler" / "__init__.py").write_text("raise SystemExit('another package')")
    return tmp_path


def test_the_program_of_the_wheel(environment: Path, elsewhere: Path) -> None:
    program = environment / "bin" / "speecht5-ttnn"
    said = run(program, "--version", cwd=elsewhere).stdout.splitlines()
    assert said == [f"speecht5-ttnn {compiler.__version__}", *versions.installed()]
    help_text = run(program, "--help", cwd=elsewhere).stdout
    assert "Usage: speecht5-ttnn" in help_text and "--install-completion" in help_text
    assert all(f" {command.name or command.callback.__name__} " in help_text for command in app.registered_commands)
    for typed, wanted in (("inspect enc", "encoder"), ("speak hello --disable fuse-b", "fuse-bias")):
        words = {"COMP_WORDS": f"speecht5-ttnn {typed}", "COMP_CWORD": str(len(typed.split()))}
        asked = ENVIRONMENT | {"_SPEECHT5_TTNN_COMPLETE": "complete_bash", **words}
        assert run(program, cwd=elsewhere, env=asked).stdout.split() == [wanted]


def test_what_is_in_the_wheel(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    assert data_of(packages) == data_of(ROOT)
    assert {f"{package}/py.typed" for package in PACKAGES} <= data_of(packages)
    (info,) = packages.glob("speecht5_ttnn-*.dist-info")
    about = metadata.PathDistribution(info)
    assert about.version == compiler.__version__
    assert about.metadata["Description-Content-Type"] == "text/markdown"
    assert about.metadata["License-Expression"] == "Apache-2.0" and "LICENSE" in about.metadata.get_all("License-File")
    assert str(about.metadata).count("# SpeechT5 on TTNN") == 1
    for name in ("Classifier", "Project-URL", "Keywords", "Summary"):
        assert about.metadata.get_all(name), name
    assert "Typing :: Typed" in about.metadata.get_all("Classifier")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len([each for each in about.requires or [] if "extra ==" not in each]) == len(wanted)


@pytest.mark.slow
def test_the_wheel_speaks_from_an_unrelated_folder(environment: Path, elsewhere: Path) -> None:
    run(environment / "bin" / "speecht5-ttnn", "speak", "one", "-o", "one.wav", cwd=elsewhere)
    assert soundfile.info(elsewhere / "one.wav").frames > 4000


def test_the_module_completes_nothing_and_tells_versions() -> None:
    """A shell completes programs: a script for ``python -m compiler`` would be one for no program at all."""
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.stdout.splitlines()[0]) == (0, f"speecht5-ttnn {compiler.__version__}")
    assert "completion" not in CliRunner().invoke(app, ["--help"]).stdout


def test_versions_that_are_missing_or_not_supported_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"torch": "2.15.0+cpu", "transformers": "4.0.0"}

    def version(package: str) -> str:
        if package in known:
            return known[package]
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    supported = versions.SUPPORTED
    assert versions.installed() == [
        "torch 2.15.0+cpu",
        f"transformers 4.0.0 ({supported['transformers']} is supported)",
        f"ttnn is not installed ({supported['ttnn']} is supported)",
    ]


def test_no_public_function_takes_just_anything() -> None:
    found = []
    for file in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.kwarg is not None:
                hint = node.args.kwarg.annotation
                public = not node.name.startswith("_") or node.name == "__call__"
                if public and (hint is None or ast.unparse(hint) == "Any"):
                    found.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert found == []


@pytest.mark.parametrize(
    ("arguments", "options"),
    [(PlanArguments, PlanOptions), (CompileArguments, CompileOptions), (VocoderArguments, VocoderOptions)],
)
def test_arguments_are_the_fields_of_their_options(arguments: type, options: type) -> None:
    assert get_type_hints(arguments) == get_type_hints(options)
    assert {*PlanChanges.__annotations__} == {*PlanArguments.__annotations__} - {"batch_size"}
    assert CompiledModel.with_plan.__annotations__["changes"] == "Unpack[PlanChanges]"
