"""Python's collector is held back while graphs are compiled, and as it was afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from compiler.collecting import no_collecting
from compiler.compiled.tracing import Tracing
from tests.shared import shared


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    before = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if before else gc.disable)()


def test_it_is_held_back_until_the_last_block_ends() -> None:
    with no_collecting():
        with no_collecting():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_lets_it_go_on() -> None:
    with pytest.raises(LookupError), no_collecting():
        raise LookupError
    assert gc.isenabled()


def test_one_that_is_off_stays_off() -> None:
    gc.disable()
    with no_collecting():
        pass
    assert not gc.isenabled()


def test_it_is_held_back_while_a_graph_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []
    make = Tracing.make

    def watched(*args: object, **kwargs: object) -> object:
        held.append(not gc.isenabled())
        return make(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Tracing, "make", watched)
    shared()[1].with_plan(board="p150").graph("postnet", steps=20)
    assert held == [True] and gc.isenabled()
