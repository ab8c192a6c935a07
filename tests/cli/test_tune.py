"""``tune``, ``fit``, ``cost --constants`` and ``--tuned``: what they print, write, take up and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import compiler
from compiler.device import opening, presence, session
from compiler.inspect.tuning import clock, defaults
from compiler.inspect.tuning.clock import MEASURED, STAND_IN
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5.tuning import choices, digest, grounds, tuning
from compiler.speecht5.tuning.choices import Choice
from compiler.target.boards import BOARDS

SHORT = ("--say", "no", "--steps", "8", "--seconds", "0", "--rounds", "3")
"""One plan, for few steps."""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SPEECHT5_TTNN_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few plans to choose from: each is compiled, to be modelled."""
    few = choices.Space(weights=("bfloat16", "mixed"), passes=(), blocks=False, read_every=(8,))
    monkeypatch.setattr(tuning, "Space", lambda traces: few)


@pytest.fixture
def without_vocoder(run: Callable[..., Any], compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small voice without its vocoder, whose graphs take the longest to compile."""
    monkeypatch.setattr(compiler, "CompiledSpeechT5", lambda *_, **__: compiled, raising=False)


@pytest.fixture
def without_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process for ttnn's mock, which accepts all: what it is asked is tested with the device."""
    monkeypatch.setattr(grounds, "Session", lambda board: nullcontext())
    monkeypatch.setattr(grounds.checking, "check", lambda *_, **__: [])


def test_a_tuning_without_a_card_measures_nothing_and_says_so(
    run: Callable[..., Any], without_mock: None, without_vocoder: None, cache: Path
) -> None:
    cache.mkdir()
    (cache / "tuned").touch()  # where a folder would be
    made = run("tune", *SHORT, "-o", "tune.json")
    assert made.exit_code == 0 and made.stderr.startswith("warning: the plan is not kept for --tuned: ")
    assert made.stdout.count(STAND_IN) == 3, "both tables and the summary"
    assert "ttnn's mock of n150" in made.stdout and "not run on a device" in made.stdout
    assert "kept: default (the first that passes); 1 of 2 plans timed, the time was up" in made.stdout
    found = json.loads(Path("tune.json").read_text())
    assert (found["clock"], found["complete"], found["board"]) == (STAND_IN, False, "n150")
    assert [plan["name"] for plan in found["plans"] if plan["median"]] == ["default"]

    fitted = run("fit", "tune.json", "-o", "constants.json")
    assert (fitted.exit_code, fitted.stderr) == (0, "")
    assert STAND_IN in fitted.stdout and "largest residuals" in fitted.stdout
    constants = json.loads(Path("constants.json").read_text())
    assert constants["dispatch"] / 4000 == pytest.approx(clock.PLANTED["dispatch"], rel=0.02)
    asdict = json.loads(run("fit", "tune.json", "--json").stdout)
    assert (asdict["clock"], asdict["after"]["dispatch"]) == (STAND_IN, constants["dispatch"])

    before, after = (
        json.loads(run("cost", "encoder", *more, "--json").stdout) for more in ((), ("--constants", "constants.json"))
    )
    seconds = [each["graphs"][0]["boards"]["n150"]["seconds"] for each in (before, after)]
    assert 1.5 < seconds[1] / seconds[0] < 2.5
    assert before["graphs"][0]["boards"]["p150"] == after["graphs"][0]["boards"]["p150"]
    assert any(STAND_IN in each["source"] for each in after["inputs"])
    table = run("cost", "encoder", "--constants", "constants.json").stdout
    assert table.startswith("n150: constants of constants.json, fitted to ") and STAND_IN in table.splitlines()[0]


def kept(run: Callable[..., Any], compiled: Any, label: str, cache: Path, choice: Choice) -> Path:
    """Keep a plan for the model of these tests on an n150."""
    key = defaults.Key("n150", metadata.version("ttnn"), digest.digest(compiled), label)
    return defaults.save(cache, defaults.Default(key, str(choice), choice.settings, 1.0, 1.0))


def test_compile_takes_the_tuned_plan_and_says_which(
    run: Callable[..., Any], compiled: Any, cache: Path, without_vocoder: None
) -> None:
    assert "--tuned: no plan was kept for n150" in run("compile", "--tuned").stderr
    kept(run, compiled, STAND_IN, cache, Choice("mixed"))
    made = run("compile", "--tuned", "--json")
    assert made.stderr == f"tuned plan for n150: weights mixed ({STAND_IN})\n"
    kept(run, compiled, MEASURED, cache, Choice("bfloat8_b", ("shard-norms",)))
    made = run("compile", "--tuned")
    assert made.stderr == f"tuned plan for n150: weights bfloat8_b, shard-norms ({MEASURED})\n"
    assert "tuned" not in run("compile").stderr, "nobody gets it without asking"


def test_speak_takes_the_tuned_plan_on_a_device(
    run: Callable[..., Any], compiled: Any, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    seen: list[Any] = []

    @contextmanager
    def opened(**given: Any) -> Any:
        seen.append(given)
        yield ReferenceExecutor()

    real = compiled.with_plan
    monkeypatch.setattr(presence, "DRIVER", Path("/"))
    monkeypatch.setattr(session, "probe", lambda: "n150")
    monkeypatch.setattr(opening, "open_device", opened)
    monkeypatch.setattr(compiled, "with_plan", lambda **plan: seen.append(plan["weights"]) or real(), raising=False)
    asked = ("speak", "four", "--device", "--tuned", "-o", "x.wav")
    kept(run, compiled, STAND_IN, cache, Choice())
    made = run(*asked)
    assert made.exit_code == 2 and "run `tune --device` first" in made.stderr, "nothing was measured"
    path = kept(run, compiled, MEASURED, cache, Choice("mixed", trace=False, read_every=16))
    made = run(*asked)
    assert made.exit_code == 0
    assert made.stderr == f"tuned plan for n150: weights mixed, reads every 16 steps, no trace ({MEASURED})\n"
    assert seen == ["mixed", {"trace": False}]
    path.write_text(path.read_text()[:50])
    made = run(*asked)
    assert made.exit_code == 2 and str(path) in made.stderr and "is damaged" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tune", "--device", "--board", "p150"), "--device takes no --board"),
        (("tune", "--full-size", "--say", "x"), "--full-size has no tokenizer"),
        (("tune", "--say", " "), "--say: the text is empty"),
        (("tune", "--seconds", "inf"), "--seconds"),
        (("tune", "-o", "nowhere/x.json"), "there is no folder 'nowhere'"),
        (
            ("tune", "--constants", "none.json"),
            "--constants 'none.json' cannot be read: No such file or directory; write ",
        ),
        (("tune", "--model", "./nowhere"), "there is no checkpoint folder"),
        (("fit", "none.json"), "the file 'none.json' cannot be read: No such file or directory; make it with `tune -o"),
        (("fit", "none.json", "-o", "nowhere/x"), "there is no folder 'nowhere'"),
        (
            ("cost", "--constants", "none.json"),
            "--constants 'none.json' cannot be read: No such file or directory; write ",
        ),
        (("compile", "--tuned", "--weights", "mixed"), "--tuned takes no --weights"),
        (("speak", "x", "--tuned", "--enable", "shard-norms"), "--tuned takes no --enable"),
        (("speak", "x", "--tuned", "--precision", "float32"), "--tuned takes no --precision"),
        (
            ("speak", "x", "--tuned", "--batch", "2"),
            "--tuned takes no --batch 2: a plan is tuned for one row at a time",
        ),
        (("compile", "--tuned", "--batch-size", "2"), "--tuned takes no --batch-size 2"),
        (("bring-up", "--device", "--board", "p150"), "--device takes no --board"),
        (("bring-up", "--say", ""), "--say: the text is empty"),
        (("bring-up", "-o", "."), "'.' is there already: name a new folder"),
    ],
)
def test_refusals(refused: Callable[..., str], arguments: tuple[str, ...], said: str) -> None:
    assert said in refused(*arguments)


def test_constants_of_another_board_are_refused(run: Callable[..., Any], refused: Callable[..., str]) -> None:
    from compiler.target.constants import Constants

    Path("p150.json").write_text(Constants.of(BOARDS["p150"]).to_json())
    for command in (("tune", *SHORT), ("cost", "encoder", "--board", "n150")):
        assert refused(*command, "--constants", "p150.json").startswith("--constants are those of a p150")


def test_the_default_distance_of_reads_is_one_that_is_tried() -> None:
    assert choices.READ_EVERY in choices.Space().read_every
