"""Nothing that torch keeps beside its arguments reaches a trace, a type or a number."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compiler import compile_speecht5, compile_vocoder
from compiler.dialects import aten
from compiler.dialects.aten import Aten, ops
from compiler.frontend.importer import import_program
from compiler.frontend.trace import trace
from compiler.ir.constants import Computed, Literal
from compiler.ir.types import DType, TensorType
from compiler.runtime.weights import Weights
from compiler.speecht5.components import Component
from compiler.speecht5.text_to_speech import CompiledSpeechT5
from compiler.torch_state import _TURNS, alone, computing, pinned, tracing
from tests import vocoders
from tests.models import lively, speaker, tiny_config, tokens


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


State = Callable[[], AbstractContextManager[Any]]
STATES: dict[str, State] = {
    "default-dtype-float16": lambda: default_dtype(torch.float16),
    "default-dtype-bfloat16": lambda: default_dtype(torch.bfloat16),
    "default-dtype-float64": lambda: default_dtype(torch.float64),
    "default-device": lambda: default_device("meta"),
    "device-context": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference-mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "deterministic": deterministic,
}


def model(stop_bias: float = -9.0) -> Any:
    """One layer of each kind, with room for two buckets of text and two of steps."""
    config = tiny_config(encoder_layers=1, decoder_layers=1, max_text_positions=48, max_speech_positions=96)
    return lively(config, stop_bias=stop_bias)


IDS, VOICE = tokens(model().config, 40), speaker(model().config)
TWO = tokens(model().config, 40, rows=2), speaker(model().config, rows=2)
"""Of the second bucket of texts, and 70 steps of speech are of the second bucket of steps."""


def said(compiled: Any, **arguments: Any) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    result: Tensor = compiled.generate_speech(IDS, VOICE, maxlenratio=3.5, generator=generator, **arguments)
    return result


@pytest.fixture(scope="module")
def spoken() -> tuple[CompiledSpeechT5, Tensor]:
    compiled = compile_speecht5(model())
    return compiled, said(compiled)


WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "chunks": ("chunks", {}),
    "exact": ("exact", {}),
    "stream": ("bucket", {"chunk_steps": 16}),
    "stream of chunks": ("chunks", {"chunk_steps": 16}),
    "stream of exact lengths": ("exact", {"chunk_steps": 16}),
    "stream of sound": ("bucket", {"chunk_steps": 16, "vocoder": True}),
    "stream of sound, rows alone": ("bucket", {"chunk_steps": 1, "vocoder": True, "rows_alone": True}),
}
"""The post-net's form, and how to speak: two rows, of which one ends long before the other."""


@pytest.fixture(scope="module")
def compiled_with() -> Callable[[str], CompiledSpeechT5]:
    hesitant = model(stop_bias=-1.2)
    return cache(lambda postnet: compile_speecht5(hesitant, postnet=postnet, batch_size=2))


@pytest.fixture(scope="module")
def vocoder() -> Any:
    return compile_vocoder(vocoders.lively(vocoders.config(model_in_dim=model().config.num_mel_bins)))


def made(compiled: CompiledSpeechT5, vocoder: Any, options: dict[str, Any]) -> list[Tensor]:
    """All that is handed out, in order."""
    how = {**options, "maxlenratio": 3.5, "generator": torch.Generator().manual_seed(3)}
    if "vocoder" in how:
        how["vocoder"] = vocoder
    if "chunk_steps" not in how:
        return [compiled.generate_speech(*TWO, **how)]
    return [row for chunk in compiled.stream_speech(*TWO, **how) for row in chunk]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_speak_is_bit_equal(
    compiled_with: Callable[[str], CompiledSpeechT5], vocoder: Any, way: str
) -> None:
    postnet, options = WAYS[way]
    compiled = compiled_with(postnet)
    want = made(compiled, vocoder, options)
    if "rows_alone" in options:
        assert any(not len(row) for row in want), "a row has to end before the last"
    for state in ("default-dtype-float64", "default-dtype-bfloat16", "default-device"):
        with STATES[state]():
            got = made(compiled, vocoder, options)
        assert {row.dtype for row in got} == {torch.float32} and {row.device.type for row in got} == {"cpu"}, state
        assert len(got) == len(want)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(got, want, strict=True)), state


@contextmanager
def all_of(*names: str) -> Iterator[None]:
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(STATES[name]())
        yield


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_speech_is_bit_equal_whatever_torch_is_set_to(spoken: tuple[CompiledSpeechT5, Tensor], state: State) -> None:
    compiled, want = spoken
    compiled.evict()  # so that all is imported, lowered and bound anew
    with state():
        got = said(compiled)
    assert torch.equal(got, want)
    assert not got.is_inference() and got.dtype is torch.float32 and got.device.type == "cpu"


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ("default-dtype-float16", "autocast", "inference-mode"),
        ("default-dtype-bfloat16", "default-device", "deterministic"),
        ("default-dtype-float64", "device-context", "gradients"),
    ],
    ids="+".join,
)
@pytest.mark.own_traces
def test_a_model_compiled_in_any_state_is_the_same(
    spoken: tuple[CompiledSpeechT5, Tensor], names: tuple[str, ...]
) -> None:
    """Compiled, asked for graphs that it has not made yet, and speaking: under the state, and then without it."""
    compiled, want = spoken
    fresh = model()
    aten._infer.cache_clear()
    with all_of(*names):
        made = compile_speecht5(fresh)
        under = said(made)
        for graph in ("encoder", "decoder_step", "postnet"):
            assert made.stages(graph).records[0].graph == compiled.stages(graph).records[0].graph
    assert torch.equal(under, want)
    assert torch.equal(said(made), want)
    compiled.evict()
    assert torch.equal(said(compiled), want), "nothing that the process kept of the bad moment is used"


def test_the_default_dtype_is_never_set(spoken: tuple[CompiledSpeechT5, Tensor], monkeypatch: Any) -> None:
    """It is the process's: another thread that sets it, as transformers does, would find ours, or lose its own."""
    compiled, want = spoken
    with default_dtype(torch.float16):
        monkeypatch.setattr(torch, "set_default_dtype", lambda _: pytest.fail("the default dtype was set"))
        compiled.evict()
        assert torch.equal(said(compiled), want)
        monkeypatch.undo()


@pytest.mark.slow
@pytest.mark.own_traces
def test_a_dtype_that_another_thread_sets_now_and_then(spoken: tuple[CompiledSpeechT5, Tensor]) -> None:
    """transformers sets it while it loads a model, and puts it back."""
    _, want = spoken
    fresh, done = model(), threading.Event()

    def load() -> None:
        while not done.is_set():
            with default_dtype(torch.float16):
                time.sleep(0.0005)
            time.sleep(0.0005)

    loading = threading.Thread(target=load)
    loading.start()
    try:
        aten._infer.cache_clear()
        got = said(compile_speecht5(fresh))
    finally:
        done.set()
        loading.join()
    assert torch.equal(got, want)


MAKERS: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda n: torch.zeros(2) + n,
    "randn": lambda n: torch.randn(2) * 0 + n,
    "tensor": lambda n: torch.tensor([0.1, 1e-7]) + n,
    "full": lambda n: torch.full((2,), 0.1) + n,
    "arange": lambda n: torch.arange(0.0, 2.0) + n,
    "integers times a number": lambda n: n * 0.1,
    "a number times integers": lambda n: 0.1 * n,
    "divided": lambda n: n / 3,
    "root": lambda n: n.sqrt(),
    "where": lambda n: torch.where(n > 3, 0.1, 1e-7),
    "where with integers": lambda n: torch.where(n > 3, n, 0.1),
    "mean": lambda n: n.to(torch.float32).mean(),
    "integers stay": lambda n: torch.arange(2) + n,
    "as asked: dtype": lambda n: torch.zeros(2, dtype=torch.float64) + n,
    "as asked: to": lambda n: n.to(torch.float64) * 0.1,
    "as asked: half": lambda n: n.half(),
    "as asked: double": lambda n: n.double(),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_what_a_module_leaves_to_the_default_is_float32(make: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    """What a user's module may do on its way."""
    numbers = torch.tensor([3, 7])
    want = make(numbers)
    with default_dtype(dtype), tracing():
        got = make(numbers)
    assert got.dtype is want.dtype
    assert torch.equal(got, want)


class Odd(nn.Module):
    """Leaves to torch's default what it can."""

    def forward(self, ids: Tensor, x: Tensor) -> tuple[Tensor]:
        table = torch.where(torch.arange(8) > 3, 0.1, 1e-7) + torch.arange(8) * 0.1 + torch.zeros(8)
        return (x * table + (ids * 0.1)[..., None],)


def test_a_module_that_leaves_it_to_the_default_is_traced_alike() -> None:
    inputs = {"ids": torch.ones(1, 4, dtype=torch.int64), "x": torch.ones(1, 4, 8)}
    component = Component("odd", Odd(), inputs, {"ids": {1: "text"}, "x": {1: "text"}}, ("y",))
    with default_dtype(torch.float16):
        graph = import_program(trace(component), {"text": 5})
    assert [value.type.dtype for value in graph.returned] == [DType.FLOAT32]
    used = {value for node in graph.nodes for value in node.operands} | set(graph.returned)
    assert all(set(node.results) & used for node in graph.nodes), "what was made twice is in the graph once"


INFERRED: dict[str, tuple[Any, tuple[str, ...], tuple[TensorType, ...], dict[str, Any], DType]] = {
    "integers times a number": (
        ops.mul.Tensor, ("self",), (TensorType((2,), DType.INT64),), {"other": 0.5}, DType.FLOAT32
    ),
    "a choice of numbers": (
        ops.where.Scalar, ("condition",), (TensorType((2,), DType.BOOL),), {"self": 0.0, "other": 1.0}, DType.FLOAT32
    ),
    "zeros": (ops.zeros.default, (), (), {"size": (2,)}, DType.FLOAT32),
    "a range of integers": (ops.arange.default, (), (), {"end": 2}, DType.INT64),
    "a range of floats": (ops.arange.default, (), (), {"end": 2.0}, DType.FLOAT32),
}  # fmt: skip


@pytest.mark.parametrize(("overload", "names", "types", "given", "want"), INFERRED.values(), ids=INFERRED.keys())
def test_types_and_constants_hang_on_the_op_alone(
    overload: Any, names: tuple[str, ...], types: tuple[TensorType, ...], given: dict[str, Any], want: DType
) -> None:
    operands = [(n, Literal(torch.ones(t.shape, dtype=t.dtype.on_host))) for n, t in zip(names, types, strict=True)]
    expression = Computed(Aten(overload), tuple(operands), tuple(given.items()))
    aten._infer.cache_clear()
    for state in STATES.values():
        with state():
            assert aten.infer_types(Aten(overload), names, types, tuple(given.items())) == (TensorType((2,), want),)
            assert Weights({})[expression].dtype is want.on_host
            aten._infer.cache_clear()


def test_the_pinned_state() -> None:
    with all_of("autocast", "device-context", "inference-mode"), torch.enable_grad(), pinned():
        a = torch.ones(2, 2, requires_grad=True)
        assert (a @ a).dtype is torch.float32 and not (a @ a).requires_grad
        assert a.device.type == "cpu" and not a.is_inference()


def test_a_trace_waits_for_what_computes_and_goes_before_what_comes() -> None:
    order: list[str] = []
    inside, waiting = threading.Event(), threading.Event()

    def compute(name: str) -> None:
        with computing():
            order.append(name)

    def hold() -> None:
        with computing():
            inside.set()
            waiting.wait(30)
            with computing(), alone():  # its own computing does not stand in its way
                order.append("nested")
            order.append("first")

    def be_alone() -> None:
        inside.wait(30)
        with alone(), computing(), alone():
            order.append("alone")

    threads = [threading.Thread(target=hold), threading.Thread(target=be_alone)]
    for thread in threads:
        thread.start()
    inside.wait(30)
    while not _TURNS._waiting:
        time.sleep(0.001)
    late = threading.Thread(target=compute, args=("late",))
    late.start()
    waiting.set()
    for thread in [*threads, late]:
        thread.join(30)
    assert sorted(order) == ["alone", "first", "late", "nested"]
    assert order.index("alone") < order.index("late")
    assert not (_TURNS._waiting or _TURNS._computing or _TURNS._alone)
