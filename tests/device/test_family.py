"""Configurations drawn at random: every plan of theirs is legal on every board, or refused by name.

A few of them run with the suite, their main graphs and each on one board. ``--family 50`` runs so many of today's on
all boards, and ``--family-seed 17`` one that a report names.
"""

from __future__ import annotations

import time

import pytest

from compiler.choices import BOARDS
from compiler.speecht5.text_to_speech import GRAPHS
from tests.device import family
from tests.device.conftest import Mocks

SAMPLE = {919: "n150", 17: "n300", 202: "p150", 1422: "p100"}
"""Seeds that between them have each optional pass, each form of weights, a batch, an odd number of heads, and the width
that fills the banks of a p150 badly; each on one board."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    count, seed = (metafunc.config.getoption(name) for name in ("--family", "--family-seed"))
    if count is None and seed is None:
        drawn = [(seed, (board,)) for seed, board in SAMPLE.items()]
    else:
        # The day's, so that processes side by side have the same.
        first = int(time.strftime("%Y%m%d")) * 1000 if seed is None else seed
        drawn = [(each, BOARDS) for each in range(first, first + (count or 1))]
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize(("seed", "boards"), drawn, ids=[f"{seed}-{'-'.join(boards)}" for seed, boards in drawn])


@pytest.mark.slow
def test_every_board_takes_every_plan(seed: int, boards: tuple[str, ...], mocks: Mocks) -> None:
    member = family.drawn(seed)
    graphs = [name for name in GRAPHS if boards == BOARDS or not name.endswith("attentions")]
    found = family.complaints(member, {board: mocks[board] for board in boards}, graphs)
    again = f"again: python -m pytest tests/device/test_family.py --family-seed {seed}"
    assert not found, "\n".join([str(member), *found, again])
