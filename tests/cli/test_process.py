"""The command line as a process of its own."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import compiler

ROOT = Path(compiler.__file__).parent.parent
COMMAND = (sys.executable, "-m", "compiler")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def process(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_speak(tmp_path):
    done = process("speak", "hello world", "-o", "hello.wav", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": hello.wav\n")
    assert soundfile.info(tmp_path / "hello.wav").frames > 4000
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "hello.wav").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.slow
def test_interrupt_while_speaking(tmp_path):
    """The progress bar is read from a terminal, so that the signal comes while steps are run."""
    screen, terminal = pty.openpty()
    arguments = ("speak", "hello", "--threshold", "100", "--max-len-ratio", "150")
    running = subprocess.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=terminal
    )
    os.close(terminal)
    seen = b""
    while b"of at most" not in seen:
        seen += os.read(screen, 1000)
    running.send_signal(signal.SIGINT)
    try:
        while more := os.read(screen, 1000):
            seen += more
    except OSError:
        pass  # how Linux says that the other side of a terminal is closed
    stdout, _ = running.communicate(timeout=60)
    os.close(screen)
    assert (running.returncode, stdout) == (130, b"")
    assert b"interrupted" in seen
    assert b"Traceback" not in seen
    assert list(tmp_path.iterdir()) == []


def test_help_and_usage_do_without_torch(tmp_path):
    code = "import sys; from compiler.cli import app; assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0
    done = process("--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: python -m compiler" in done.stdout
    done = process("speak", folder=tmp_path)
    assert done.returncode == 2
    assert "Missing argument 'TEXT'" in done.stderr


def test_the_package_keeps_its_names():
    assert set(compiler.__all__) <= set(dir(compiler))
    assert all(getattr(compiler, name) is not None for name in compiler.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'speak_up'"):
        _ = compiler.speak_up
