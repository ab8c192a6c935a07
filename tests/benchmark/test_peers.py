"""Environments of peers, which are not made here; and a peer that is a stand-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from compiler.benchmark import peers, tasks
from compiler.errors import CompilerError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_an_environment_is_there_when_all_of_it_is_installed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = peers.folder() / "lib" / "python3.12" / "site-packages"
    ran: list[list[str]] = []

    def run(command: list[str], _: Path) -> None:
        ran.append(command)
        packages.mkdir(parents=True, exist_ok=True)
        assert peers.interpreter() is None, "not yet"

    monkeypatch.setattr(peers, "_run", run)
    assert tasks.peers(1) == {"absent": "its environment was not made, which bench --peers does"}
    python = peers.make()
    assert peers.interpreter() == python and python.is_relative_to(cache)
    assert ran[-1][0] == str(python) and set(peers.OPENVINO) < set(ran[-1])
    (link,) = packages.glob("*.pth")
    assert Path(link.read_text().strip(), "torch", "__init__.py").samefile(torch.__file__)
    assert peers.make() == python and len(ran) == 2, "it is made once"


def test_what_pip_says_is_told(cache: Path) -> None:
    with pytest.raises(CompilerError, match=r"could not be made \(no such package\): see that the package index can"):
        peers._run([sys.executable, "-c", "raise SystemExit('no such package')"], cache)
    assert peers.interpreter() is None


@pytest.mark.parametrize("works", [True, False])
def test_a_peer_answers_with_its_seconds(works: bool) -> None:
    code = "import sys; print(7, flush=True); [print(0.5, flush=True) for _ in sys.stdin]" if works else "1 / 0"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        if works:
            peer = peers.Peer(process)
            assert (peer.ready, peer.seconds(), peer.seconds()) == ("7", 0.5, 0.5)
        else:
            with pytest.raises(tasks.TaskFailed, match="the peer ended: ZeroDivisionError"):
                peers.Peer(process)
        process.kill()
