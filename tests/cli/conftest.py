"""The small voice loaded and compiled once, and the command line run on it."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import compiler
from compiler.cli import app
from compiler.speecht5.checkpoint import SMALL_VOICE, Voice
from compiler.speecht5.quiet import quiet
from compiler.speecht5.vocoder import planned
from tests.shared import small_voice


@pytest.fixture(scope="session")
def voice() -> Voice:
    torch.set_num_threads(1)  # threads that wait for a busy core make so small a model many times slower
    return small_voice()[0]


@pytest.fixture(scope="session")
def compiled(voice: Voice) -> Any:
    return small_voice()[1]


@pytest.fixture(scope="session")
def compiled_for_two(voice: Voice) -> Any:
    """The voice compiled for two short texts at once."""
    with quiet():
        options = compiler.CompileOptions(batch_size=2, max_text_tokens=60)
        return compiler.CompiledSpeechT5(voice.model, options)


@pytest.fixture(scope="session")
def sounding(compiled: Any, voice: Voice) -> Any:
    """The same with its vocoder: the graphs are shared."""
    other = copy.copy(compiled)
    other.vocoder = planned(voice.vocoder, compiled.options)
    return other


@pytest.fixture
def run(compiled: Any, sounding: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """The command line in an empty folder, with tracing and compiling done once for all tests."""

    def made(model: Any, options: Any, vocoder: Any = None) -> Any:
        return compiled if vocoder is None else sounding

    monkeypatch.setattr(compiler, "compile_speecht5", lambda model, **options: compiled, raising=False)
    monkeypatch.setattr(compiler, "CompiledSpeechT5", made, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def refused(run: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Run what is to be refused: the message, one line on stderr, with nothing else printed and no file made."""

    def check(*arguments: object, code: int = 2) -> str:
        before = sorted((tmp_path / "work").iterdir())
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1, "one line"
        assert sorted((tmp_path / "work").iterdir()) == before
        return str(result.stderr.removeprefix("error: ").strip())

    return check


@pytest.fixture
def misused(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run what the command line itself refuses, before the command: the message, out of its box."""

    def check(*arguments: object) -> str:
        monkeypatch.setattr("compiler.speecht5.checkpoint.load_model", lambda *_: pytest.fail("loaded"))
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        boxed = [line.strip("│ ") for line in result.stderr.splitlines() if line.startswith("│")]
        return " ".join(boxed).removeprefix("Invalid value for ")

    return check


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the small voice to spoil."""
    return shutil.copytree(SMALL_VOICE, tmp_path / "checkpoint")
