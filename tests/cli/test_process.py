"""The command line as a process of its own."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile

import compiler
from tests import forked

ROOT = Path(compiler.__file__).parent.parent
COMMAND = (sys.executable, "-m", "compiler")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def process(*arguments: str, folder: Path, start: Any = subprocess.run, **variables: str) -> Any:
    env = ENVIRONMENT | variables
    return start([*COMMAND, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """Where the first of the tests that speak keeps what it traced: tracing takes most of its time."""
    return {"SPEECHT5_TTNN_TRACES": str(tmp_path_factory.mktemp("traces"))}


@pytest.mark.slow
def test_speak(tmp_path, traces):
    done = process("speak", "hello world", "-o", "hello.wav", folder=tmp_path, start=forked.run, **traces)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": hello.wav\n")
    assert soundfile.info(tmp_path / "hello.wav").frames > 4000
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "hello.wav").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.slow
def test_interrupt_while_speaking(tmp_path, traces):
    """The progress bar is read from a terminal, so that the signal comes while steps are run."""
    screen, terminal = pty.openpty()
    arguments = ("speak", "hello", "--threshold", "100", "--max-len-ratio", "150")
    running = forked.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, env=ENVIRONMENT | traces, stdout=subprocess.PIPE, stderr=terminal
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
    heavy = {"torch", "transformers", "numpy", "rich", "pydantic", "jinja2"}
    code = f"import sys; from compiler.cli import app; assert not {heavy} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0
    done = process("--help", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: python -m compiler" in done.stdout
    done = process("speak", folder=tmp_path)
    assert done.returncode == 2
    assert "Missing argument 'TEXT'" in done.stderr


def python(code: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    options = {"env": ENVIRONMENT, "capture_output": True, "timeout": 60} | options
    return subprocess.run([sys.executable, "-c", code], check=False, **options)


def test_what_is_wrong_is_said_before_torch_is_imported(tmp_path):
    """All in one process, as the tokenizer's library alone takes a second."""
    refused = [
        ["speak", "one", "--precision", "int8"],
        ["inspect", "decoder"],
        ["inspect", "encoder", "--stage", "fold-scales"],
        ["compile", "--disable", "fold-scales"],
        ["check", "--precision", "float32"],
        ["check", "--board", "n151"],
        ["speak", ""],
        ["speak", "one", "--seed", "-1"],
        ["speak", "one", "--model", ""],
        ["speak", "one", "-o", "one.mp3"],
        ["speak", "one", "--model", "nowhere"],
        ["speak", "7"],
        ["speak", "one" * 100],
        ["speak", "one", "--vocoder", "empty"],
        ["speak", "one", "--vocoder", "./missing"],
        ["inspect", "encoder", "--text", "0"],
        ["inspect", "encoder", "--text", "201"],
        ["inspect", "decoder_step", "--steps", "100000"],
        ["inspect", "encoder", "--full-size", "--text", "0"],
        ["inspect", "encoder", "--frames", "3"],
        ["inspect", "vocoder", "--frames", "513"],
        ["inspect", "vocoder", "--vocoder", "empty"],
        ["inspect", "encoder", "--diff", "import"],
        ["inspect", "encoder", "--diff", "import", "--diff", "lower", "--diff", "final"],
        ["inspect", "encoder", "--model", "empty"],
        ["inspect", "encoder", "--literals", "empty"],
        ["compile", "--text", "0"],
        ["check", "--text", "201"],
        ["opt", "--write-literals", "empty", "graph.txt"],
        ["opt", "--literals", "missing", "graph.txt"],
        ["report", "--json", "--fidelity", "missing"],
        ["cost", "--constants", "missing"],
        ["tune", "--constants", "missing"],
        ["fit", "missing"],
        ["bench", "--rounds", "0"],
        ["bench", "--only", "foo"],
        ["bench", "--only", "step,,memory"],
        ["bench", "--against", "nonsense"],
        ["bench", "--against", "HEAD", "--rounds", "0"],
        ["bench", "--pages", "missing"],
    ]
    (tmp_path / "empty").mkdir()
    (tmp_path / "graph.txt").touch()
    code = f"""
import sys
from compiler.cli import app
for arguments in {refused}:
    try:
        app(arguments)
    except SystemExit as end:
        assert end.code == 2, arguments
    assert "torch" not in sys.modules, arguments
"""
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()


FULL = b"error: standard output could not be written: No space left on device\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ops"],
        ["speak", "one"],
        ["fit", "file"],
        ["cost", "--constants", "file"],
        ["report", "--json", "--fidelity", "file"],
        ["report", "--json"],
        ["opt", "file"],
        ["inspect", "encoder"],
        ["parameters"],
        ["compile"],
        ["check"],
        ["verify"],
        ["tune"],
        ["emit", "-o", "new"],
        ["new-op", "elu"],
        ["bench"],
        ["bench", "--against", "HEAD"],
    ],
    ids=" ".join,
)
def test_a_terminal_tells_what_takes_seconds_before_it_does(arguments, tmp_path):
    """The first import that takes long ends the process: by then there is a line on the terminal, still."""
    (tmp_path / "file").write_text("{}")
    code = f"""
import io, os, sys
class Screen(io.StringIO):
    def isatty(self):
        return True
class Watch:
    def find_spec(name, *_):
        if name in ("torch", "transformers", "sentencepiece"):
            os._exit(0 if sys.stderr.getvalue().endswith(" ...") else 3)
sys.stderr = Screen()
sys.meta_path.insert(0, Watch)
from compiler.cli import app
app({arguments})
"""
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, "nothing was said"


def test_output_that_cannot_be_written():
    """A full disk is an error; a reader of a pipe that has seen enough is none to speak of."""
    options = {"env": ENVIRONMENT, "stderr": subprocess.PIPE, "timeout": 60}
    for command in (["--help"], ["ops"], ["ops", "--markdown"], ["inspect", "encoder"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([*COMMAND, *command], stdout=full, check=False, **options)
        assert (done.returncode, done.stderr) == (1, FULL), command
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "--help"], stdout=writer, check=False, **options)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_terminal_of_few_characters():
    done = python(
        "import sys; from compiler import process; process.prepare_streams(); print('sound \u266b'); "
        "print('sound \u266b', file=sys.stderr)",
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"sound \\u266b\n", b"sound \\u266b\n")
    done = subprocess.run(
        [*COMMAND, "--help"], env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


CLOSED = """
import os
for number in (0, 1, 2):
    os.close(number)
from compiler import process
process.prepare_streams()
with open("sound", "w") as file:
    os.write(1, b"noise")
    os.write(2, b"noise")
    file.write("sound")
"""


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    assert python(CLOSED, cwd=tmp_path).returncode == 0
    assert (tmp_path / "sound").read_text() == "sound"


def test_nothing_but_sound_goes_to_standard_output():
    """What native libraries print goes past Python's streams."""
    done = python(
        "import os, sys; from compiler.speecht5 import sound\n"
        "print('before', flush=True)\n"
        "with sound.standard_output() as stream:\n"
        "    os.write(1, b'native ')\n"
        "    print('python')\n"
        "    stream.write(b'RIFF')\n"
        "print('after')"
    )
    assert (done.stdout, done.stderr) == (b"before\nRIFFafter\n", b"native python\n")


def test_sound_is_not_shown_on_a_terminal(tmp_path):
    screen, terminal = pty.openpty()
    arguments = [*COMMAND, "speak", "one", "-o", "-"]
    done = subprocess.run(
        arguments, cwd=tmp_path, env=ENVIRONMENT, stdout=terminal, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(terminal)
    os.close(screen)
    assert (done.returncode, done.stderr) == (
        2,
        "error: -o - writes sound to standard output, which is a terminal: name a file or a pipe for it\n",
    )


IMPORTING = """
import os, signal
from compiler.process import interruption
{before}
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    pass  # as a native library may clear it
{after}
"""


@pytest.mark.parametrize(
    ("before", "after", "code", "stderr"),
    [
        ("interruption.watch()", "", 130, b"interrupted\n"),
        ("interruption.watch(); interruption.begin_work()", "assert interruption.noted", 0, b""),
        ("interruption.watch(); interruption.begin_work()", "interruption.raise_noted()", -signal.SIGINT, None),
        ("signal.signal(signal.SIGINT, signal.SIG_IGN); interruption.watch()", "assert not interruption.noted", 0, b""),
    ],
)
def test_an_interrupt_is_not_lost(before, after, code, stderr):
    """While libraries are imported it ends the process; later it is noted; where it is ignored it stays so."""
    done = python(IMPORTING.format(before=before, after=after))
    assert (done.returncode, done.stderr if stderr is not None else None) == (code, stderr)


@pytest.mark.slow
def test_interrupts_while_libraries_are_imported(tmp_path):
    for seconds in (0.8, 2.0):
        running = subprocess.Popen(
            [*COMMAND, "speak", "one"], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)
        assert (*running.communicate(timeout=60), running.returncode) == (b"", b"interrupted\n", 130)


ENDING = """
import sys
sys.path.insert(0, {root!r})
import atexit, ctypes, os, threading
{before}
from compiler.process import Ending
ending = Ending()
class Told:
    def __del__(self):
        os.write(1, b"torn down ")
told = Told()
def late():
    threading.main_thread().join()
    print("thread", end=" ")
threading.Thread(target=late).start()
atexit.register(ctypes.CDLL(None).printf, b"C ")
atexit.register(print, "handler", end=" ", flush=True)
print("python", end=" ")
sys.stderr.write("stderr")
{leave}
"""
"""An ending with output in every buffer, and what would still have to be done."""


@pytest.mark.parametrize(
    ("before", "leave", "code", "stdout"),
    [
        ("", "ending.leave(0)", 0, "python thread handler C "),
        ("", "ending.leave(3)", 3, "python thread handler C "),
        ("", "ending.leave(256 + 7)", 7, "python thread handler C "),
        ("", "ending.leave(3, quick=False)", 3, "python thread handler torn down C "),
        ("", "sys.exit(3)", 3, "python thread handler torn down C "),
        ("", "raise ValueError", 1, "python thread handler torn down C "),
        ("atexit.register(print, 'first', end=' ')", "ending.leave(3)", 3, "python thread handler first torn down C "),
    ],
)
def test_an_ending_loses_nothing_and_leaves_modules_alone(before, leave, code, stdout):
    """Threads end, handlers run, and output is there, C's as well, whose own buffer comes last."""
    done = python(ENDING.format(root=str(ROOT), before=before, leave=leave), env={})
    assert (done.returncode, done.stdout.decode()) == (code, stdout)
    assert done.stderr.startswith(b"stderr")


def test_an_ending_whose_output_is_lost_says_so():
    program = ENDING.format(root=str(ROOT), before="", leave="ending.leave(0)")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, env={}, check=False)
    assert (done.returncode, b"No space left on device" in done.stderr) == (120, True)


def test_the_package_keeps_its_names():
    assert set(compiler.__all__) <= set(dir(compiler))
    assert all(getattr(compiler, name) is vars(compiler)[name] for name in compiler.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'speak_up'"):
        _ = compiler.speak_up
