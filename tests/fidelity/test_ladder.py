"""The ladder and the search of a small model: what is right passes, and each level fails for a fault of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from compiler import CompiledSpeechT5, CompileOptions, InvalidArgument
from compiler.inspect.ladder import shown
from compiler.inspect.ladder.records import OWN, Bar, Ladder, Measured, Own, Rung, measure
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5.verifying.asked import Subject
from compiler.speecht5.verifying.climbing import climb
from compiler.speecht5.verifying.own import own
from compiler.speecht5.verifying.searching import search
from compiler.speecht5.verifying.theirs import spoken
from passes.fold_scale import FoldScale
from tests import vocoders
from tests.compiler.test_wrong_stage import ForgetsScale, instead
from tests.device.standin import computing
from tests.device.standin.module import executor_on
from tests.device.test_first_wrong import scaled
from tests.faults import planted
from tests.models import lively, speaker, tiny_config, tokens

pytestmark = pytest.mark.slow

STEPS = 12


@pytest.fixture(scope="module")
def compiled(tiny_model: Any) -> CompiledSpeechT5:
    model = lively(tiny_config(), stop_bias=-1.0)
    sounding = vocoders.lively(vocoders.config(model_in_dim=model.config.num_mel_bins))
    return CompiledSpeechT5(model, CompileOptions(), vocoder=sounding)


def asked(compiled: CompiledSpeechT5) -> Subject:
    return Subject(tokens(compiled.config, 9), speaker(compiled.config), 0, "nine tokens", STEPS)


def subject_of(compiled: CompiledSpeechT5) -> tuple[torch.Tensor, torch.Tensor, int]:
    subject = asked(compiled)
    return subject.ids, subject.speaker, subject.seed


def climbed(compiled: CompiledSpeechT5, executor: Any = None, device: str = "") -> Ladder:
    return climb(compiled, asked(compiled), executor or ReferenceExecutor(), about={}, device=device)


LEVELS = ("attention", "layer", "stack", "component", "teacher-forced", "free-running", "vocoder", "sound")


def test_float32_passes_on_all_rungs(compiled: CompiledSpeechT5) -> None:
    ladder = climbed(compiled)
    assert ladder.passed, shown.misses(ladder)
    assert tuple(dict.fromkeys(rung.level for rung in ladder.rungs)) == LEVELS
    assert not ladder.on_device and all("not run on a device" in rung.where for rung in ladder.rungs)
    assert {kind: len(points) for kind, points in ladder.steps.items()} == {
        "teacher-forced": STEPS,
        "free-running": STEPS,
    }
    assert [point.at for point in ladder.depth["encoder"]] == ["0.attention", "0", "1.attention", "1"]
    stops = [(rung.ours, rung.theirs) for rung in ladder.rungs if rung.level == "free-running"]
    assert [ours for ours, _ in stops] == [theirs for _, theirs in stops]
    assert stops[0][0] == STEPS != stops[1][0], "speech must stop by itself at another step"


def test_bfloat16_has_a_rung_for_the_ops_of_each_graph(compiled: CompiledSpeechT5) -> None:
    ladder = climbed(compiled.with_plan(precision="bfloat16"))
    ops = [rung for rung in ladder.rungs if rung.level == "op"]
    graphs = ["encoder", "utterance", "decoder_step", "postnet", "vocoder"]
    assert [rung.of.split(":")[0] for rung in ops] == graphs
    assert all(rung.passed for rung in ops)
    assert 1e-4 < next(rung for rung in ladder.rungs if rung.level == "component").measured.error < 0.05
    assert ladder.about[OWN] == "Hugging Face in bfloat16"
    for rung in ladder.rungs:
        assert (rung.own is None) == (rung.level == "op")
        assert rung.own is None or 1e-4 < rung.own.measured.error < 1, "it rounds, and says the same thing"
    for points in (ladder.depth["encoder"], ladder.steps["teacher-forced"]):
        assert all(point.own is not None and 1e-5 < point.own < 0.2 for point in points)


def test_a_model_that_computes_in_no_other_type_has_nothing_beside_it(compiled: CompiledSpeechT5) -> None:
    others = own(compiled.with_plan(precision="bfloat16"))
    others.model.speech_decoder_postnet.float()
    runs = others.runs(*[spoken(compiled.source.model, None, *subject_of(compiled), 2)] * 2, 2)
    assert runs.of(lambda each: each.long) is None and "dtype" in runs.failed[0]


def test_a_device_is_named(compiled: CompiledSpeechT5, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its wrong kernel shows on the rung of its ops, and is found."""
    plan = compiled.with_plan(precision="bfloat16")
    plan.vocoder = None
    scaled(computing, "layer_norm", 1.02)(monkeypatch)
    executor = executor_on("n150")
    ladder = climbed(plan, executor, "a stand-in")
    assert ladder.on_device and {rung.where for rung in ladder.rungs} == {"a stand-in"}
    assert not next(rung for rung in ladder.rungs if rung.of.startswith("encoder: ttnn.layer_norm")).passed
    found = search(plan, asked(plan), executor, graphs=["encoder"], device="a stand-in")
    assert [wrong.op for wrong in found.wrong] == ["ttnn.layer_norm"]
    assert "a stand-in with float32" in found.wrong[0].compared
    text = shown.search_text(found)
    assert "ttnn.layer_norm(" in text and "layer_norm (normalization.py" in text and "deviation" in text


DECODING, REFINING = "compiler.speecht5.decoding", "compiler.speecht5.refining"
FAULTS: dict[str, tuple[Callable[[], AbstractContextManager[None]], str]] = {
    "the loop stops a step late": (
        partial(planted, DECODING, "self.ends.setdefault(row, step + 1)", "self.ends.setdefault(row, step + 2)"),
        "free-running",
    ),
    "the post-net sees half of the frames": (
        partial(planted, REFINING, " < ends).to(torch.float32)", " < ends // 2).to(torch.float32)"),
        "component",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_level_fails_for_a_fault_of_its_own(compiled: CompiledSpeechT5, fault: str) -> None:
    plant, level = FAULTS[fault]
    compiled = compiled.with_plan()
    compiled.vocoder = None
    with plant():
        ladder = climbed(compiled)
    failed = [rung.level for rung in ladder.rungs if not rung.passed]
    assert failed and failed[0] == level
    assert len(shown.misses(ladder)) == len(failed)


def test_no_node_is_wrong(compiled: CompiledSpeechT5) -> None:
    plan = compiled.with_plan(precision="bfloat16")
    found = search(plan, asked(plan), ReferenceExecutor(), graphs=["encoder", "decoder_step", "vocoder"])
    assert not found.wrong
    assert set(found.compared) == {"modules", "graphs through their stages", "nodes"}
    assert shown.search_text(found).startswith("no wrong node: compared 12 modules, 3 graphs")


def test_a_wrong_module_is_named(compiled: CompiledSpeechT5, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Hugging Face's modules, and then by the stage at fault."""
    plan = compiled.with_plan(precision="bfloat16")
    instead(FoldScale, ForgetsScale)(monkeypatch)
    plan.evict()
    try:
        by_module, by_stage = search(plan, asked(plan), ReferenceExecutor(), graphs=["encoder"]).wrong
    finally:
        plan.evict()
    assert "Hugging Face's modules" in by_module.compared and "layers.0.attention" in by_module.why
    assert (by_module.graph, by_stage.stage) == ("encoder", "fold-scale")


def test_a_stop_is_compared_before_the_numbers() -> None:
    rung = Rung("free-running", "a text", "theirs", "here", Measured(1.0, 0.0, 0.0), Bar(pcc=0.999), 5, 5)
    assert rung.passed
    assert not replace(rung, ours=6).passed
    assert not replace(rung, measured=Measured(float("nan"), 0.0, 0.0)).passed


OFF, FAR = Measured(0.99, 0.1, 0.0), Measured(0.98, 0.2, 0.0)


@pytest.mark.parametrize(
    ("ours", "stop", "theirs", "their_stop", "verdict"),
    [
        (Measured(0.9999, 0.0, 0.0), 5, FAR, 9, "pass"),
        (OFF, 5, FAR, 5, "as theirs"),
        (OFF, 5, OFF, 5, "as theirs"),
        (FAR, 5, OFF, 5, "FAIL"),
        (OFF, 6, FAR, 6, "as theirs"),
        (OFF, 6, FAR, 5, "FAIL"),
        (OFF, 6, FAR, 4, "as theirs"),
        (OFF, 7, FAR, 4, "FAIL"),
        (FAR, 5, Measured(0.0, float("inf"), 0.0), 5, "FAIL"),
        (Measured(0.0, float("inf"), 0.0), 5, FAR, 5, "FAIL"),
        (OFF, 5, None, None, "FAIL"),
    ],
)
def test_beyond_a_bar_theirs_in_this_type_is_the_bar(
    ours: Measured, stop: int, theirs: Measured | None, their_stop: int | None, verdict: str
) -> None:
    beside = None if theirs is None else Own(theirs, their_stop)
    rung = Rung("free-running", "a text", "theirs", "here", ours, Bar(pcc=0.999, error=0.01), stop, 5, own=beside)
    assert rung.verdict == verdict and rung.passed == (verdict != "FAIL")


def test_sound_beyond_its_bar_is_compared_with_theirs() -> None:
    def verdict(distance: float, theirs: float | None) -> str:
        bar = Bar(distance=2.0)
        return Rung("sound", "", "", "", OFF, bar, distance=distance, own=Own(FAR, distance=theirs)).verdict

    assert [verdict(*each) for each in ((1.9, None), (2.1, 2.2), (2.3, 2.2), (2.1, None))] == [
        "pass",
        "as theirs",
        "FAIL",
        "FAIL",
    ]


def test_figures() -> None:
    want = torch.tensor([1.0, -2.0, 4.0])
    found = measure(want + torch.tensor([0.0, 0.2, 0.1]), want)
    assert (round(found.error, 6), round(found.bias, 6)) == (0.05, 0.025)
    assert measure(want, want) == Measured(1.0, 0.0, 0.0)
    assert measure(want * float("nan"), want).error == float("inf")


def test_the_page_says_where_nothing_ran(compiled: CompiledSpeechT5, tmp_path: Path) -> None:
    ladder = climbed(compiled)
    page = shown.to_html([ladder], "Numbers of <it>")
    assert "None of these figures was computed on a device" in page and "Numbers of &lt;it&gt;" in page
    assert page.count("<svg ") == 2 and "http://" not in page.replace("http://www.w3.org", "")
    assert "None of these" not in shown.to_html([replace(ladder, on_device=True)], "")


def test_what_is_refused(compiled: CompiledSpeechT5, tmp_path: Path) -> None:
    long = replace(asked(compiled), ids=tokens(compiled.config, 40))
    with pytest.raises(InvalidArgument, match="40 tokens"):
        climb(compiled, long, ReferenceExecutor(), about={})
    with pytest.raises(InvalidArgument, match="a saved model has no modules"):
        climb(_Saved(), asked(compiled), ReferenceExecutor(), about={})  # type: ignore[arg-type]


class _Saved:
    saved = True
