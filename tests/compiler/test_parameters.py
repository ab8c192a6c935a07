"""What became of parameters: complete against the graphs themselves, and right where the answer is known."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from torch import nn

from compiler import InvalidArgument
from compiler.compiled import CompiledModel
from compiler.inspect import parameter_text
from compiler.inspect.parameters import Entry, Kind, book, find, names
from compiler.ir.constants import parameters
from compiler.target.options import PlanOptions
from tests.compiler.test_compiled import SPEC, Counter

pytestmark = pytest.mark.slow

DECODER, POSTNET = "speecht5.decoder.wrapped_decoder.layers", "speech_decoder_postnet.layers"


@pytest.fixture(scope="module")
def entries(tiny_compiled: Any) -> dict[str, Entry]:
    return {entry.name: entry for entry in book(tiny_compiled)}


def test_each_parameter_and_buffer_has_an_entry(entries: dict[str, Entry], tiny_compiled: Any) -> None:
    model = tiny_compiled.source.model
    held = [*model.named_parameters(), *model.named_buffers()]
    assert list(entries) == list(names(tiny_compiled)) and len(entries) == len(held)
    assert list(dict.fromkeys(entry.module for entry in entries.values())) == [
        path for path, module in model.named_modules() if [*module.parameters(False), *module.buffers(False)]
    ]
    for name, tensor in held:
        entry = entries[name]
        assert (entry.shape, entry.kind is Kind.BUFFER) == (tuple(tensor.shape), not isinstance(tensor, nn.Parameter))
        assert f"{entry.module}.".startswith(name.rpartition(".")[0])
        assert bool(entry.lives) != bool(entry.unread), "either some graph reads it, or it is said why none does"
    assert entries[f"{POSTNET}.0.conv.weight"].module_type == "Conv1d"


def test_its_places_are_those_of_the_graphs(entries: dict[str, Entry], tiny_compiled: Any) -> None:
    """Each constant of each final graph is found under each parameter in it, with all that read it."""
    wanted, got = set(), set()
    for name in tiny_compiled.names:
        graph = tiny_compiled.graph(name).graph
        for constant in graph.constants:
            count = sum(list(user.operands).count(constant.value) for user in graph.users.get(constant.value, ()))
            for parameter in parameters(constant.expression):
                wanted.add((name, parameter, str(constant.expression), str(constant.value.type), count))
    for entry in entries.values():
        for life in entry.lives:
            for place in life.places:
                got.add((life.graph, entry.name, str(place.expression), str(place.type), len(place.readers)))
    assert got == wanted


def test_what_is_known_of_some(entries: dict[str, Entry]) -> None:
    value, key = (entries[f"{DECODER}.1.encoder_attn.{kind}_proj.bias"] for kind in "vk")
    (life,) = [life for life in value.lives if life.graph == "decoder_step"]
    (place,) = life.places
    assert set(parameters(place.expression)) == {
        value.name,
        f"{DECODER}.1.encoder_attn.out_proj.weight",
        f"{DECODER}.1.encoder_attn.out_proj.bias",
    }
    assert [(reader.op, reader.operand) for reader in place.readers] == [("ttnn.linear", "bias")]
    assert "out_proj" in place.readers[0].origin
    assert "fold-value-bias" in [change.stage for change in life.changes] and life.folds
    fused = [life for life in key.lives if not life.graph.endswith("attentions")]
    assert fused and all(life.gone is not None and life.gone.stage == "drop-key-bias" for life in fused)
    assert key.graphs == ("utterance_attentions",), "probabilities are computed of it"
    assert "utterance" not in value.graphs, "what the loop's split took out is no life"
    assert set(entries[f"{DECODER}.1.encoder_attn.v_proj.weight"].graphs) == {"utterance", "utterance_attentions"}
    mean = entries[f"{POSTNET}.0.batch_norm.running_mean"]
    assert [(life.graph, life.gone) for life in mean.lives] == [("postnet", None)]
    assert "fold-batch-norm" in [change.stage for change in mean.lives[0].changes]
    assert "counts batches" in entries[f"{POSTNET}.0.batch_norm.num_batches_tracked"].unread
    assert "dropout_rows" in entries["speecht5.decoder.prenet.layers.0.bias"].host
    assert not entries["speecht5.decoder.prenet.layers.1.bias"].host


def test_the_text_of_an_entry(entries: dict[str, Entry]) -> None:
    said = parameter_text.entry_text(entries[f"{DECODER}.1.encoder_attn.v_proj.bias"]).splitlines()
    assert said[:2] == [
        f"{DECODER}.1.encoder_attn.v_proj.bias",
        f"  parameter f32[64] of Linear {DECODER}.1.encoder_attn.v_proj",
    ]
    at = said.index(f"in decoder_step, names under {DECODER}.1.encoder_attn:")
    assert re.fullmatch(
        r"  %c\d+: f32\[1,64\] tile dram = "
        r"\(v_proj.bias.view\(1, -1\) @ out_proj.weight.T \+ out_proj.bias\).view\(1, 64\)",
        said[at + 1],
    )
    assert said[at + 2].startswith("    read by ttnn.linear %")
    assert said[at + 3 : at + 6] == [
        "  stage by stage:",
        "    import: Import the traced program at its lengths.",
        "      v_proj.bias, read by aten.linear.default as bias",
    ]
    gone = parameter_text.entry_text(entries[f"{DECODER}.1.encoder_attn.k_proj.bias"])
    assert "gone: drop-key-bias. Drop the bias of attention's keys. A key's bias adds q.b to all scores" in gone


def test_layers_of_which_the_same_is_said_are_one_row(entries: dict[str, Entry]) -> None:
    rows = {row[0]: row[1:] for row in parameter_text.rows(list(entries.values()))}
    wide, _, made, read = rows[f"{DECODER}.{{0,1}}.self_attn.out_proj.weight"]
    assert (wide, read) == ("f32[64,64]", "ttnn.linear as input_tensor_b")
    assert made == "decoder_step, decoder_step_attentions: f32[64,64] tile dram = weight.T, by lower"
    value = rows[f"{DECODER}.0.encoder_attn.v_proj.bias"][2].splitlines()
    assert value[0].endswith(f"names under {DECODER}.0.encoder_attn, by fold-constants-5, lower")
    gone = rows[f"{DECODER}.0.encoder_attn.k_proj.bias"]
    assert gone[2].startswith("utterance, decoder_step: gone by drop-key-bias\nutterance_attentions: ")
    assert gone[3].startswith("\nttnn.linear as bias"), "a line for each"
    listed = parameter_text.listing(list(entries.values())).splitlines()
    at = listed.index(f"{DECODER}.{{0,1}}.self_attn.out_proj.weight: f32[64,64] of Linear")
    assert listed[at + 1 : at + 3] == [f"  {made}", f"    read by {read}"]


def test_only_graphs_that_are_asked_for_are_compiled(tiny_compiled: Any) -> None:
    fresh = copy.deepcopy(tiny_compiled)
    (entry,) = find(fresh, f"{POSTNET}.0.conv.weight", "postnet")
    assert (fresh.kept["buckets"], entry.graphs) == (1, ("postnet",))
    (other,) = find(fresh, f"{POSTNET}.0.conv.weight", "encoder")
    assert (other.lives, other.unread) == ((), "encoder does not read it")


def test_a_modules_parameters(tiny_compiled: Any) -> None:
    found = [entry.name for entry in find(tiny_compiled, f"{POSTNET}.1.conv", "postnet")]
    assert found == [f"{POSTNET}.1.conv.weight"]


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        (f"{DECODER}.1.encoder_atn.v_proj.bias", f"did you mean '{DECODER}.1.encoder_attn.v_proj.bias'"),
        (f"{POSTNET}.0.batchnorm", f"did you mean '{POSTNET}.0.batch_norm'"),
    ],
)
def test_a_mistyped_name_gets_the_nearest(tiny_compiled: Any, wanted: str, nearest: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        find(tiny_compiled, wanted)
    assert str(raised.value).startswith(f"there is no parameter or buffer {wanted!r}: {nearest}")


def test_a_model_that_is_no_speech_with_a_tensor_of_two_names() -> None:
    model = Counter().eval().requires_grad_(False)
    model.out = model.read
    (entry,) = find(CompiledModel(model, SPEC, PlanOptions()), "out.weight")
    assert entry.tied == ("read.weight",) and entry.graphs == ("count",)
    assert len(entry.lives[0].places[0].readers) == 2, "one constant, which both linears read"
