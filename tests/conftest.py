"""What all tests share: golden texts, and one small SpeechT5 with weights on which a fault shows."""

from __future__ import annotations

import atexit
import difflib
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ["SPEECHT5_TTNN_TRACES"] = ""  # no test goes by what another one traced

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files with what the tests get")
    parser.addoption(
        "--device", action="store_true", help="run tests/device on the card or simulator that ttnn finds, not its mock"
    )
    parser.addoption(
        "--family",
        type=int,
        metavar="N",
        help="check so many configurations, drawn anew each day, on all boards: tests/device/test_family.py",
    )
    parser.addoption("--family-seed", type=int, metavar="SEED", help="the first of them, and one if N is not given")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--device") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--device: only one process can hold a device, so leave out -n")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[object]:
    """Collect tests with what they all need: torch, which a process that only hands out tests does without.

    Modules and collected tests live to the end. Python's collector of cycles does not look at them again and again.
    """
    if not session.config.getoption("numprocesses", None):
        import torch

        # Models here are small: more threads only wait for each other, more so when tests run side by side.
        torch.set_num_threads(1)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(20_000, 20, 20)
        atexit.register(gc.unfreeze)  # native libraries that count their objects expect all of them to go


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: at the end of a run no process waits for another one's long file."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getoption("dist") != "loadfile":
        return None
    from tests.together import Together

    return Together(config, log)


@pytest.fixture(scope="session", autouse=True)
def _shared_traces() -> Iterator[None]:
    from tests.traces import shared_traces

    with shared_traces():
        yield


@pytest.fixture(scope="session", autouse=True)
def _forked_sessions(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.config.getoption("--device"):
        yield
        return
    from tests.forked import forked_sessions

    with forked_sessions():
        yield


@pytest.fixture(autouse=True)
def _own_traces(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("own_traces") is None:
        yield
        return
    from tests.traces import own_traces

    with own_traces():
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)`` fails with a diff unless ``text`` is what ``golden/<name>.txt`` holds."""
    update = request.config.getoption("--update-golden")

    def check(name: str, text: str) -> None:
        file = GOLDEN / f"{name}.txt"
        text = text.rstrip("\n") + "\n"
        if update:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        elif not file.is_file():
            pytest.fail(f"there is no golden file {file.name}: make it with --update-golden", pytrace=False)
        elif file.read_text() != text:
            lines = (file.read_text().splitlines(), text.splitlines())
            diff = difflib.unified_diff(*lines, f"golden/{file.name}", "this run", lineterm="")
            pytest.fail("\n".join(["the text is not the golden one:", *diff]), pytrace=False)

    return check


@pytest.fixture(scope="session")
def tiny_model() -> Any:
    """A SpeechT5ForTextToSpeech of two layers, hidden size 64 and heads of 32, in evaluation mode. Only read it."""
    from tests.models import lively, tiny_config

    return lively(tiny_config())


@pytest.fixture(scope="session")
def tiny_compiled(tiny_model: Any) -> Any:
    """Its CompiledSpeechT5, for one row in float32. Only read it; other plans share its traces by ``with_plan``."""
    from compiler import CompiledSpeechT5, CompileOptions

    return CompiledSpeechT5(tiny_model, CompileOptions())
