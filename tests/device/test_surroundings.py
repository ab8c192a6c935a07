"""Variables that ttnn crashes without are there, as long as it needs them, and the caller's are left as they were."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.device import mock, surroundings
from compiler.device import session as sessions
from compiler.errors import DeviceError


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The folder that is found for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return str(folder)


def test_what_is_there_is_left_alone(temporary: str) -> None:
    assert surroundings.needed({"HOME": "/home/me", "TMPDIR": temporary}) == {}
    assert surroundings.needed({"HOME": "", "TEMP": temporary}) == {}, "an empty home does no harm"


def test_without_a_home_it_is_the_users(temporary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert surroundings.needed({"TMPDIR": temporary}) == {"HOME": pwd.getpwuid(os.getuid()).pw_dir}
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert surroundings.needed({"TMPDIR": temporary}) == {"HOME": temporary}, "a user that the system does not know"


@pytest.mark.parametrize("named", ["/nonexistent", "relative", __file__, ""])
def test_a_folder_for_temporary_files_that_cannot_be_used(temporary: str, named: str) -> None:
    assert surroundings.needed({"HOME": "/home/me", "TMPDIR": named}) == {"TMPDIR": temporary}


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(DeviceError, match=r"needs a folder for temporary files .*: set TMPDIR to one"):
        surroundings.needed({})


def test_what_is_lent_is_taken_back(temporary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    before = dict(os.environ)
    with pytest.raises(LookupError), surroundings.survivable():
        assert Path(os.environ["HOME"]).is_absolute() and os.environ["TMPDIR"] == temporary
        raise LookupError
    assert dict(os.environ) == before


@pytest.mark.parametrize("board", ["n150", None])
def test_a_session_hands_them_on(board: str | None, temporary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    given: dict[str, str] = {}

    def start(command: list[str], env: dict[str, str], **_: object) -> None:
        given.update(env)
        raise LookupError

    monkeypatch.setattr("compiler.device.session.subprocess.Popen", start)
    with pytest.raises(LookupError):
        sessions.Session(board).call("package:function")
    assert (given["HOME"], given["TMPDIR"]) == (pwd.getpwuid(os.getuid()).pw_dir, temporary)


SPEAK = """
import os
import compiler
before = dict(os.environ)
with compiler.open_device() as executor:
    print(dict(os.environ) == before, executor.replicas)
"""


@pytest.mark.slow
def test_a_device_opens_in_a_process_without_them() -> None:
    environment = mock.environment("n150") | {"TMPDIR": __file__}
    del environment["HOME"]
    done = subprocess.run(
        [sys.executable, "-c", SPEAK], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (0, "True 1\n"), done.stderr
