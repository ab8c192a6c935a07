"""The file in which a board's tuned plan is kept: for what it holds, and what is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compiler.errors import InvalidArgument
from compiler.inspect.tuning import defaults
from compiler.inspect.tuning.clock import MEASURED, STAND_IN
from compiler.inspect.tuning.defaults import Default, Key
from compiler.speecht5.tuning import choices
from compiler.speecht5.tuning.choices import Choice, Space

KEY = Key("n150", "0.81.1", "abc", MEASURED)
CHOICE = Choice("mixed", ("shard-norms",), (choices.BLOCKS,), 16, False)
KEPT = Default(KEY, str(CHOICE), CHOICE.settings, 0.01, 0.02)


def test_what_was_kept_is_found(tmp_path: Path) -> None:
    path = defaults.save(tmp_path, KEPT)
    found = defaults.load(tmp_path, KEY)
    assert found == KEPT and path.name.startswith("n150-")
    assert choices.of_settings(found.settings) == CHOICE
    later = replace(KEPT, name="other")
    assert defaults.save(tmp_path, later) == path and defaults.load(tmp_path, KEY) == later


@pytest.mark.parametrize("change", [{"board": "p150"}, {"ttnn": "0.82"}, {"graphs": "abd"}, {"clock": STAND_IN}])
def test_it_holds_for_its_board_version_model_and_clock_alone(change: dict[str, str], tmp_path: Path) -> None:
    defaults.save(tmp_path, KEPT)
    other = replace(KEY, **change)
    assert other.name != KEY.name
    assert defaults.load(tmp_path, other) is None


def _kept(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], str]:
    """A change whose digest is right, as a program that went wrong would write it."""

    def changed(content: dict[str, Any]) -> str:
        del content["sha256"]
        change(content)
        return json.dumps({"sha256": defaults._digest(content), **content})

    return changed


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], str], str]] = {
    "cut short": (lambda c: json.dumps(c)[:40], "it cannot be read as JSON"),
    "another plan": (lambda c: json.dumps({**c, "name": "x"}), "its digest does not match"),
    "no object": (lambda _: "[1]", "it holds no JSON object"),
    "another format": (_kept(lambda c: c.update(format=2)), "its format is not 1"),
    "a field less": (_kept(lambda c: c.pop("median")), "median is missing"),
    "for another board": (_kept(lambda c: c["key"].update(board="p150")), "it is for another board"),
    "too long": (lambda _: " " * (1 << 21), "larger than any such file"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused_by_its_name(damage: str, tmp_path: Path) -> None:
    change, said = DAMAGE[damage]
    path = defaults.save(tmp_path, KEPT)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(InvalidArgument) as refused:
        defaults.load(tmp_path, KEY)
    assert said in str(refused.value) and str(path) in str(refused.value)
    assert "run `tune` again" in str(refused.value)


# --- the settings that are kept ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weights": "int4"}, "weights='int4' is not known"),
        ({"enable": "shard-norm"}, "did you mean|choose one of"),
        ({"disable": "flash-decode"}, "disable='flash-decode' is not known"),
        ({"read_every": "0"}, "read_every"),
        ({"read_every": "-1"}, "a whole number is expected"),
        ({"trace": "yes"}, "trace='yes' is not known"),
        ({"more": "x"}, "are expected"),
    ],
)
def test_settings_that_no_plan_has(settings: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        choices.of_settings(Choice().settings | settings)


def test_neighbours_differ_by_one_change() -> None:
    for space in (Space(), Space(traces=True, blocks=False)):
        for choice in (Choice(), CHOICE):
            near = list(space.neighbours(choice))
            assert len(near) == len({*near}) and choice not in near
            for other in near:
                differs = [name for name, value in choice.settings.items() if other.settings[name] != value]
                assert len(differs) == 1
                assert choices.of_settings(other.settings) == other
            assert space.traces == any(other.trace != choice.trace for other in near)


def test_names() -> None:
    assert str(Choice()) == "default" and Choice().changes == 0
    assert str(CHOICE) == "weights mixed, shard-norms, without choose-blocks, reads every 16 steps, no trace"
    assert CHOICE.changes == 5
