"""The vocoder's graphs by the commands that show graphs: as for the others, and what there is to refuse."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import compiler
from compiler import CompileOptions, InvalidArgument, choices
from compiler.inspect import report
from compiler.speecht5 import checkpoint as checkpoint_room
from tests.cli.test_graphs import rows


def test_inspect_shows_the_vocoder(run: Callable[..., Any], sounding: Any) -> None:
    for name in ("vocoder", "short_vocoder"):
        result = run("inspect", name)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"{sounding.vocoder.graph(name)}\n"
    assert "%spectrogram: f32[1,96,80]" in run("inspect", "vocoder", "--frames", 65, "--stage", "import").stdout
    assert "%spectrogram: f32[1,64,80]" in run("inspect", "vocoder", "--steps", 600, "--stage", "import").stdout
    listed = [row[0] for row in rows(run("inspect", "vocoder", "--list").stdout)]
    assert listed == list(report.stages(sounding.stages("vocoder"))) and "shard-stages" in listed
    assert re.search(
        r"^fold-convolution-scale: \d+ matches, 0 near misses$", run("inspect", "vocoder", "--explain").stdout, re.M
    )


def test_opt_goes_on_from_any_stage_of_it(run: Callable[..., Any]) -> None:
    last = run("inspect", "vocoder", "--no-origins").stdout
    for stage in ("lower", "keep-activated"):
        Path("stage.txt").write_text(
            run("inspect", "vocoder", "--stage", stage, "--no-origins", "--literals", "held.safetensors").stdout
        )
        given = ["--literals", "held.safetensors"] if Path("held.safetensors").exists() else []
        result = run("opt", "stage.txt", "--no-origins", *given)
        assert (result.exit_code, result.stderr) == (0, ""), stage
        assert result.stdout == last, stage


def test_cost_of_the_vocoder_op_by_op(run: Callable[..., Any]) -> None:
    shown = run("cost", "vocoder", "--frames", 100, "--board", "p150").stdout
    assert "vocoder on p150, microseconds (modelled, not measured)" in shown and "128 frames" in shown
    table = {row[0]: row[1:] for row in rows(shown.split("microseconds (modelled")[1])}
    assert {"conv_transpose2d", "conv2d", "sum"} <= set(table)
    assert "plans of the decoder step" not in shown


NONE = "the checkpoint '{0}' has no vocoder (a folder 'vocoder' in it): name one with --vocoder"


@pytest.mark.parametrize("arguments", [("inspect", "vocoder"), ("cost", "short_vocoder"), ("check", "--frames", 64)])
def test_a_voice_without_a_vocoder(refused: Callable[..., str], checkpoint: Path, arguments: tuple[str, ...]) -> None:
    shutil.rmtree(checkpoint / "vocoder")
    assert refused(*arguments, "--model", checkpoint) == NONE.format(checkpoint)


def test_what_names_no_vocoder(refused: Callable[..., str]) -> None:
    missing = "there is no checkpoint folder './missing' (a name on the hub would be OWNER/NAME)"
    assert refused("inspect", "vocoder", "--vocoder", "./missing") == missing
    assert refused("inspect", "vocoder", "--model", "./missing") == missing
    assert refused("inspect", "vocoder", "--frames", "513") == "--frames 513: the model was compiled for 1 to 512"


def test_the_model_answers_for_its_vocoder(compiled: Any, sounding: Any, voice: Any) -> None:
    assert sounding.graph("vocoder", frames=3) is sounding.vocoder.graph("vocoder", frames=3)
    with pytest.raises(InvalidArgument, match=r"there is no graph 'vocoders': did you mean 'vocoder'"):
        sounding.graph("vocoders")
    with pytest.raises(InvalidArgument, match=r"no graph 'vocoder': the model was compiled without a vocoder; name it"):
        compiled.graph("vocoder")
    with pytest.raises(InvalidArgument, match="no length 'frames', which is a vocoder's: this model was compiled "):
        compiled.graph("encoder", frames=3)
    own = compiler.CompiledSpeechT5(voice.model, CompileOptions(batch_size=2, board="p150"), vocoder=voice.vocoder)
    assert own.vocoder is not None and own.vocoder.options.board == "p150"
    assert own.names[-2:] == ("vocoder", "short_vocoder")


def test_a_length_of_another_model_is_refused(sounding: Any) -> None:
    """It was ignored: the graph was not for what was asked for. For several graphs at once each gets its own."""
    for call in (sounding.graph, sounding.stages):
        with pytest.raises(
            InvalidArgument, match=r"the graph 'encoder' has no length 'frames': its model has text, steps$"
        ):
            call("encoder", frames=3)
        with pytest.raises(InvalidArgument, match=r"the graph 'vocoder' has no length 'steps': its model has frames$"):
            call("vocoder", frames=3, steps=5)
    asked = {"text": 3, "steps": 5, "frames": 7}
    assert sounding.lengths_of("postnet", asked) == {"text": 3, "steps": 5}
    assert sounding.lengths_of("vocoder", asked) == {"frames": 7}
    with pytest.raises(InvalidArgument, match="there is no graph 'vocoders': did you mean 'vocoder'"):
        sounding.lengths_of("vocoders", asked)


def test_the_lengths_of_graphs_are_those_of_their_specs(sounding: Any) -> None:
    specs = [*sounding.spec.graphs, *sounding.vocoder.spec.graphs]
    assert {spec.name: spec.lengths for spec in specs} == choices.LENGTHS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspect", "encoder", "--frames", 3), "--frames is for vocoder, short_vocoder: leave it out for encoder"),
        (
            ("inspect", "vocoder", "--list", "--text", 3),
            "--text is for encoder, utterance, decoder_step, utterance_att",
        ),
        (("inspect", "encoder", "--steps", 1), "--steps is for decoder_step, decoder_step_attentions, postnet: leave"),
        (("cost", "postnet", "--text", 3), "--text is for encoder, utterance, decoder_step, utterance_attentions, dec"),
        (("check", "--graph", "encoder", "--graph", "postnet", "--frames", 3), "--frames is for vocoder, short_vocode"),
        (("report", "--json", "--graph", "utterance", "--steps", 3), "--steps is for decoder_step, decoder_step_atten"),
    ],
)
def test_a_length_that_no_graph_shown_has_is_refused(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], message: str
) -> None:
    monkeypatch.setattr(checkpoint_room, "load_model", lambda *_: pytest.fail("loaded"))
    assert refused(*arguments).startswith(message)
