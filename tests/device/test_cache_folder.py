"""Where the mock keeps what it makes: the first folder that is named, or the first that can be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compiler.device import mock
from compiler.errors import DeviceError


def test_the_cache_folder_is_the_first_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mock, "_can_be_made", lambda folder: True)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv(mock.CACHE_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert mock.cache_folder() == Path("/home/me/.cache/speecht5-ttnn")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/counts/as/none")
    assert mock.cache_folder() == Path("/home/me/.cache/speecht5-ttnn")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert mock.cache_folder() == Path("/xdg/speecht5-ttnn")
    monkeypatch.setenv(mock.CACHE_VARIABLE, "~/mine")
    assert mock.cache_folder() == Path("/home/me/mine")
    monkeypatch.chdir(tmp_path)
    assert mock.cache_folder("here") == tmp_path / "here"


@pytest.mark.parametrize("home", ["file/home", "nowhere/to/be/made"])
def test_a_home_that_cannot_be_written_has_its_cache_elsewhere(
    home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a service's home, ``/nonexistent``; it is not even made where this could be."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    for name in (mock.CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if home.startswith("nowhere"):
        assert mock.cache_folder() == tmp_path / home / ".cache/speecht5-ttnn"
        monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    assert mock.cache_folder() == tmp_path / f"speecht5-ttnn-{os.getuid()}"
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def home_with_a_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Returns the temporary folder that takes the place of such a home's cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    for name in (mock.CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"speecht5-ttnn-{os.getuid()}"


def test_a_home_with_a_space_has_its_cache_elsewhere(home_with_a_space: Path) -> None:
    assert mock.cache_folder() == home_with_a_space
    assert home_with_a_space.stat().st_mode & 0o777 == 0o700
    assert mock.cache_folder() == home_with_a_space, "and again, now that it is there"


def test_a_temporary_folder_that_others_can_use_is_refused(home_with_a_space: Path) -> None:
    home_with_a_space.mkdir()
    home_with_a_space.chmod(0o777)
    with pytest.raises(DeviceError, match=f"no folder that only this user can use. Set {mock.CACHE_VARIABLE}"):
        mock.cache_folder()


def test_a_link_in_the_place_of_the_temporary_folder_is_refused(home_with_a_space: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    home_with_a_space.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceError, match="no folder that only this user can use"):
        mock.cache_folder()


def test_spaces_everywhere_are_refused(home_with_a_space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/my tmp")
    with pytest.raises(DeviceError, match=f"/my home/.*/my tmp/.*Set {mock.CACHE_VARIABLE}"):
        mock.cache_folder()
