"""Steps run one after the other, and the folder that is written of them: whole, and without anything personal."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest

from compiler.device import firmware
from compiler.inspect.bringing_up import personal, report, steps
from compiler.inspect.bringing_up.figures import figures
from compiler.inspect.bringing_up.personal import Personal
from compiler.inspect.bringing_up.steps import Ran, Result, State, Step


def step(name: str, *arguments: str, files: tuple[str, ...] = ()) -> Step:
    return Step(name, f"what {name} is for", arguments, f"{name}.json", files)


def told(outcomes: dict[str, Ran | BaseException], folder: Path, **more: object) -> tuple[list[Result], list[str]]:
    """The results of steps that come to these, and what was said on the way."""
    said: list[str] = []

    def run(asked: Step, where: Path, limit: float) -> Ran:
        assert where == folder and limit == 9.0
        outcome = outcomes[asked.name]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    planned = [step(name, files=("page",) if name == "writes" else ()) for name in outcomes]
    return steps.run_all(planned, folder, 9.0, said.append, run=run, **more), said  # type: ignore[arg-type]


def test_one_that_fails_does_not_stop_the_next(tmp_path: Path) -> None:
    results, said = told(
        {
            "good": Ran(0, "{}", ""),
            "bad": Ran(1, "", "error: what is wrong\nmore"),
            "crashed": Ran(-11, "", ""),
            "hung": Ran(None, "", ""),
            "writes": Ran(0, "", ""),
            "last": Ran(0, "", ""),
        },
        tmp_path,
    )
    states = [State.PASSED, State.FAILED, State.FAILED, State.HUNG, State.FAILED, State.PASSED]
    assert [result.state for result in results] == states
    assert [result.why for result in results[1:5]] == [
        "error: what is wrong",
        "it was ended by SIGSEGV",
        "it was ended after 9 s",
        "it ended well and left no page",
    ]
    assert said[0] == "1/6 good: what good is for ..." and said[1].startswith("1/6 good: passed after")


def test_after_an_interruption_the_rest_is_not_run(tmp_path: Path) -> None:
    results, _ = told({"first": KeyboardInterrupt(), "second": Ran(0, "", "")}, tmp_path)
    assert [result.state for result in results] == [State.INTERRUPTED, State.SKIPPED]
    assert results[1].why == "it was interrupted before"


def test_a_step_that_makes_no_sense_is_not_run(tmp_path: Path) -> None:
    results, _ = told({"first": Ran(0, "", ""), "second": RuntimeError()}, tmp_path, skipped={"second": "no device"})
    assert [(each.state, each.why) for each in results] == [(State.PASSED, ""), (State.SKIPPED, "no device")]


def test_a_step_runs_as_a_process_of_its_own_in_the_folder(tmp_path: Path) -> None:
    ran = steps.in_process_of_its_own(step("ops", "speak", " ", "-o", "x.wav"), tmp_path, 60)
    assert ran.status == 2 and ran.stdout == "" and ran.stderr.startswith("error: ")


def test_a_step_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\ntrap '' INT\necho begun\nsleep 60 & wait\n")
    interpreter.chmod(interpreter.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(steps.sys, "executable", str(interpreter))
    monkeypatch.setattr(steps, "CLOSING", 0.1)
    begin = time.monotonic()
    ran = steps.in_process_of_its_own(step("slow"), tmp_path, 1.0)
    assert (ran.status, ran.stdout) == (None, "begun\n")
    assert time.monotonic() - begin < 30


# --- the folder -------------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Personal:
    """A user with a name and a home, on a host with a name."""
    home = tmp_path / "homes" / "jane"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "work")
    monkeypatch.setattr(personal.getpass, "getuser", lambda: "jane")
    monkeypatch.setattr(personal.socket, "gethostname", lambda: "lab7.example.org")
    monkeypatch.setattr(personal.tempfile, "gettempdir", lambda: "/var/tmp/of-jane")
    return Personal.here(home / "voices" / "hers")


def test_what_is_personal_is_taken_out(mine: Personal, tmp_path: Path) -> None:
    home = tmp_path / "homes" / "jane"
    said = mine.without(
        f"{home}/work/x.py: {home}/notes, {home}/voices/hers, /var/tmp/of-jane/y, /home/joe/z, jane@lab7, "
        "lab7.example.org, janet of lab77 (root)"
    )
    assert said == ("./x.py: ~/notes, hers, TMP/y, /home/USER/z, USER@HOST, HOST, janet of lab77 (root)")


@pytest.mark.parametrize("name", ["root", "user"])
def test_a_name_that_tells_nothing_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal.getpass, "getuser", lambda: name)
    assert Personal.here().without(f"{name} (components/postnet.py:3)") == f"{name} (components/postnet.py:3)"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("at /srv/kernels/x, /srv/sim/lib.so", "at $SPEECHT5_TTNN_CACHE/x, $TT_METAL_SIMULATOR"),
        ("/srv/hub/a and /srv/share/b", "$HF_HOME/a and $XDG_DATA_DIRS/b"),
        ("/srv/var/tmp/of-jane/x", "PATH/x"),
        ("a/var/tmp/of-jane/x", "a/var/tmp/of-USER/x"),
        ("/mnt/lab/secret/x.py:3", "PATH/x.py:3"),
        ("-I /mnt/lab/x -I/mnt/lab/y file:///mnt/lab/z", "-I PATH/x -IPATH/y file://PATH/z"),
        ("/dev/tenstorrent/0 https://a.org/b/c a/b/c ~/a/b 4/5 <br/> </td>",) * 2,
    ],
)
def test_no_path_of_the_machine_stays(said: str, left: str, mine: Personal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEECHT5_TTNN_CACHE", "/srv/kernels")
    monkeypatch.setenv("HF_HOME", "/srv/hub/")
    monkeypatch.setenv("XDG_DATA_DIRS", "/srv/share:/srv/other")
    monkeypatch.setenv("TT_METAL_SIMULATOR", "/srv/sim/lib.so")
    assert Personal.here().without(said) == left


def test_a_name_is_taken_out_as_json_and_html_spell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal.getpass, "getuser", lambda: "j\u00fcr'gen")
    said = "j\u00fcr'gen j\\u00fcr'gen j\u00fcr&#x27;gen j\u00fcr&#39;gen \\nj\u00fcr'gen"
    assert Personal.here().without(said) == "USER USER USER USER \\nUSER"


def test_a_host_or_user_that_is_called_like_a_word_of_ours_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal.getpass, "getuser", lambda: "max")
    monkeypatch.setattr(personal.socket, "gethostname", lambda: "n150")
    assert Personal.here(words=("max", "n150")).without("max on n150, max_error") == "max on n150, max_error"
    assert Personal.here().without("max on n150, max_error") == "USER on HOST, max_error"


def test_the_folder(mine: Personal, tmp_path: Path) -> None:
    home = str(tmp_path / "homes" / "jane")
    folder, work = tmp_path / "folder", tmp_path / "steps"
    folder.mkdir()
    work.mkdir()
    (work / "verify.html").write_text(f"<p>{home}/work on lab7</p>")
    (work / "speech.wav").write_bytes(b"RIFF")
    spoken = step("speak", "speak", "four nine", "--device", files=("speech.wav",))
    results = [
        Result(
            step("check", "check", "--json"),
            State.FAILED,
            3.4,
            Ran(1, f'{{"at": "{home}/a", "lab7": 1}}', f"{home}|b"),
            "x|y",
        ),
        Result(spoken, State.PASSED, 1.0, Ran(0, "", "")),
        Result(step("tune"), State.SKIPPED, 0.0, Ran(None, "", ""), "no device"),
    ]
    report.write(folder, work, "Title", {"ttnn": "0.81.1", "device": f"of jane at {home}"}, results, ["a figure"], mine)
    assert sorted(file.name for file in folder.iterdir()) == [
        *("check.json", "check.stderr.txt", "report.md", "speech.wav", "summary.json", "verify.html"),
    ]
    for file in folder.iterdir():
        content = file.read_bytes()
        assert not any(word in content.replace(b'"lab7": 1', b"") for word in (b"jane", b"lab7", home.encode())), file
    assert json.loads((folder / "check.json").read_text()) == {"at": "~/a", "lab7": 1}, "a key is a word of ours"
    text = (folder / "report.md").read_text()
    assert text.startswith("# Title\n\n1 of 3 steps passed.\n\n| step | what | came to |")
    assert "| check | what check is for | failed: x\\|y | 3 | check.json |" in text
    assert "python -m compiler speak 'four nine' --device" in text and "- a figure" in text
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["passed"], [each["state"] for each in summary["steps"]]) == (False, ["failed", "passed", "not run"])


def test_figures_are_those_of_the_json_and_no_more(tmp_path: Path) -> None:
    board = {
        **{"board": "device", "arch": "BLACKHOLE", "grid": [13, 10], "graphs": [{"accepted": 3, "ops": 4}] * 2},
        "agreement": {"encoder": {"x": {"pcc": 0.9991}}},
    }
    rung = {"level": "op", "of": "encoder", "passed": False}
    plan = {"title": "bfloat16", "rungs": [rung], "about": {"computed by": "device"}}
    printed = {
        "check": json.dumps([board]),
        "verify": json.dumps({"plans": [plan]}),
        "tune": '{"plans": [',
        "speak": "",
    }
    printed["speak"] = "1.06 s of sound: speech.wav\n"
    results = [Result(step(name), State.PASSED, 1.0, Ran(0, said, "")) for name, said in printed.items()]
    assert figures(results) == [
        "check, device, BLACKHOLE 13x10: ttnn accepts 6 of 8 ops, least PCC 0.99910",
        "verify, bfloat16: 0 of 1 rungs pass, device; not: op encoder",
        "speak: 1.06 s of sound: speech.wav",
    ]


# --- tt-smi -----------------------------------------------------------------------------------------------------------

SAID = json.dumps(
    {
        "host_info": {"Hostname": "lab7", "Driver": "TT-KMD 2.0", "Kernel": "6.8"},
        "device_info": [
            {
                "board_info": {"board_type": "n150 L", "board_id": "0100018511732", "bus_id": "0000:01:00.0"},
                "firmwares": {"fw_bundle_version": "80.17.0.0"},
            }
        ],
    }
)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (
            f"echo 'a line before'; echo '{SAID}'",
            {
                **{"driver": "TT-KMD 2.0", "kernel": "6.8", "board 0": "n150 L"},
                "firmware of board 0": "fw_bundle_version 80.17.0.0",
            },
        ),
        ("echo no", {"boards": "not known: tt-smi -s printed no JSON of boards"}),
        ("echo '{}'; exit 1", {"boards": "not known: tt-smi -s names none"}),
        ("sleep 60", {"boards": "not known: tt-smi did not answer for 1 s"}),
        (None, {"boards": firmware.UNKNOWN}),
    ],
)
def test_what_is_taken_of_tt_smi(
    script: str | None, found: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "tt-smi"
    if script is not None:
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(firmware, "_SECONDS", 1.0)
    assert firmware.firmware() == found
