"""A device for tests: ttnn's mock, or with ``pytest --device`` what ttnn finds. How to use it: docs/devices.md."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from torch import Tensor

from compiler.device.findings import GraphCheck, Plan
from compiler.device.session import Session, board_of
from compiler.errors import DeviceError
from compiler.inspect.agreement import agreement
from compiler.inspect.checking import PCC_BAR
from compiler.runtime.executable import Executable

Check = Callable[[Executable, Mapping[str, Tensor]], GraphCheck]


@pytest.fixture(scope="session")
def on_device(request: pytest.FixtureRequest) -> bool:
    """Whether there are numbers: a mock computes none."""
    return bool(request.config.getoption("--device"))


class Mocks(dict[str, Session]):
    """A session for each board, opened when it is first asked for, which takes seconds, and kept open."""

    def __missing__(self, board: str) -> Session:
        self[board] = Session(board, time_limit=180)
        return self[board]

    def __call__(self, board: str, **_: object) -> AbstractContextManager[Session]:
        """For ``compiler.check(..., session=mocks)``, which closes what it is given."""
        return nullcontext(self[board])


@pytest.fixture(scope="session")
def _mocks() -> Iterator[Mocks]:
    opened = Mocks()
    yield opened
    for session in opened.values():
        session.__exit__()


@pytest.fixture
def mocks(_mocks: Mocks, on_device: bool) -> Mocks:
    """ttnn's mocks of all boards, shared by the tests of a run."""
    if on_device:
        pytest.skip("for the mocks of all boards")
    return _mocks


@pytest.fixture(scope="session")
def _opened(on_device: bool, _mocks: Mocks) -> Iterator[Session | DeviceError]:
    with Session(None, time_limit=120) if on_device else _mocks("n150") as session:
        try:
            session.call("compiler.device.checks:describe")
        except DeviceError as error:
            yield error
        else:
            yield session


@pytest.fixture
def session(_opened: Session | DeviceError, on_device: bool) -> Session:
    """The device that all tests of a run share. After a crash or a hang it is opened anew."""
    if isinstance(_opened, DeviceError):
        if on_device:
            pytest.skip(f"--device: {_opened}")
        raise _opened
    return _opened


@pytest.fixture
def board(session: Session) -> str:
    """The board whose plans the device takes."""
    found = board_of(session.call("compiler.device.checks:describe"))
    assert found is not None, "plans are made for no board like this device"
    return found


@pytest.fixture
def check(session: Session, on_device: bool) -> Check:
    """``check(executable, inputs)`` fails unless the device takes the graph.

    Every op must be accepted, every result of the type that the compiler inferred, and nothing compiled twice. With
    numbers, outputs must be those of the reference executor, and each node within the bound on its op's error.
    """

    def accepted(executable: Executable, inputs: Mapping[str, Tensor]) -> GraphCheck:
        plan = Plan.of(executable, executable.name, inputs if on_device else None)
        found: GraphCheck = session.call("compiler.device.checks:check", plan)
        assert found.complaints == ()
        assert found.compiled_again == 0
        if on_device:
            made = session.call("compiler.device.checks:outputs", plan)
            wanted = executable.run(inputs)
            agreed = {name: agreement(made[name], tensor) for name, tensor in wanted.items()}
            assert all(each.meets(PCC_BAR) for each in agreed.values()), agreed
            nodes = session.call("compiler.device.compare:errors", plan)
            assert [node for node in nodes if not node.within] == []
        return found

    return accepted


@pytest.fixture
def numbers(session: Session, on_device: bool) -> Session:
    """The device, for a test that needs what it computes."""
    if not on_device:
        pytest.skip("ttnn's mock computes no numbers: run with --device")
    return session


def precompiled() -> Path:
    spec = importlib.util.find_spec("ttnn")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "tt_metal" / "pre-compiled"


@pytest.fixture(scope="module")
def firmware() -> Path:
    return min(precompiled().glob("*/trisc2/trisc2_weakened.elf"))
