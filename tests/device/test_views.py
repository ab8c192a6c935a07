"""Views of one row: ttnn stores its columns and its heads alike, and a part of it begins where the plan has it."""

from __future__ import annotations

import pytest

from compiler.device.session import Session
from compiler.target.boards import BOARDS
from tests.device.conftest import Mocks


@pytest.mark.parametrize(("batch", "heads", "head"), [(1, 12, 64), (2, 4, 32), (3, 5, 96)])
def test_columns_and_heads_of_one_row_are_the_same_bytes(session: Session, batch: int, heads: int, head: int) -> None:
    columns = session.call("tests.device.inside:stored", (batch, 1, 1, heads * head))
    assert columns == session.call("tests.device.inside:stored", (batch, heads, 1, head))


@pytest.mark.parametrize("shapes", [((1, 1, 2, 128), (1, 4, 2, 32)), ((1, 1, 1, 64), (1, 4, 1, 16))])
def test_those_of_two_rows_or_of_half_a_tile_are_not(session: Session, shapes: tuple[tuple[int, ...], ...]) -> None:
    one, other = (session.call("tests.device.inside:stored", shape) for shape in shapes)
    assert one != other


@pytest.mark.parametrize("board", BOARDS)
def test_parts_begin_at_the_first_bank(board: str, mocks: Mocks) -> None:
    banks, step = mocks[board].call("tests.device.inside:narrowed", 2)
    assert banks == BOARDS[board].banks.value
    assert step == 2 * 2048, "two tiles of bfloat16 in each bank lie before the part"
