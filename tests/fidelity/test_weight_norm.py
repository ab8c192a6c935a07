"""Models under torch's weight norm, as it is set today and as it was: folded into the weights, against Hugging Face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import SpeechT5ForTextToSpeech

import compiler
from compiler.ir.constants import Parameter
from compiler.speecht5.checkpoint import load_model
from tests.fidelity.test_generate_speech import BAR, SHALLOW, both, small
from tests.models import lively, relative_error, speaker, tokens
from tests.shared import shared

Norm = Callable[[nn.Module], nn.Module]
FORMS = {
    "parametrization": nn.utils.parametrizations.weight_norm,
    "hook": nn.utils.weight_norm,
}
GAINS = ("parametrizations.weight.original0", "weight_g")
DEPRECATED = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")


def normed(norm: Norm) -> SpeechT5ForTextToSpeech:
    """A model all of whose linears and convolutions have a gain of their own, which is not the length of the weight."""
    model = lively(small(**SHALLOW), feedback=0.5)
    for module in list(model.modules()):
        if isinstance(module, nn.Linear | nn.Conv1d):
            norm(module)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(GAINS):
                parameter.mul_(0.8 + 0.4 * torch.rand(parameter.shape, generator=random))
    return model


@pytest.mark.slow
@DEPRECATED
@pytest.mark.parametrize("norm", FORMS.values(), ids=FORMS)
def test_speech_is_hugging_face_s(norm: Norm) -> None:
    model = normed(norm)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    compiled = compiler.compile_speecht5(model)
    options = {"minlenratio": 4.0, "maxlenratio": 4.0}
    want, got = both(model, compiled, tokens(model.config, 20), speaker(model.config), **options)
    assert relative_error(got, want) <= BAR
    without = lively(small(**SHALLOW), feedback=0.5)
    plain, _ = both(without, compiled, tokens(model.config, 20), speaker(model.config), **options)
    assert relative_error(plain, want) > 1000 * BAR, "the gains must be heard"
    after = model.state_dict()
    assert list(after) == list(before), "the model is only read"
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@DEPRECATED
@pytest.mark.parametrize("norm", FORMS.values(), ids=FORMS)
def test_it_is_part_of_the_weights(norm: Norm) -> None:
    """Nothing of it is left to the device, and gains and directions are the model's own memory."""
    model = normed(norm)
    compiled = compiler.CompiledSpeechT5(model, compiler.CompileOptions())
    _, plain = shared(SHALLOW)
    ops = [node.op for node in compiled.postnet.graph.nodes]
    assert ops == [node.op for node in plain.postnet.graph.nodes]
    assert "_weight_norm(speech_decoder_postnet.layers.0.conv.parametrizations.weight.original1, " in str(
        compiled.postnet.graph.constants[0].expression
    )
    layer = "speech_decoder_postnet.layers.0.conv"
    theirs = {name: tensor for name, tensor in model.get_submodule(layer).named_parameters() if name != "bias"}
    ours = [compiled.source.weights[Parameter(f"{layer}.parametrizations.weight.original{i}")] for i in range(2)]
    assert [torch._C._data_address(t) for t in ours] == [torch._C._data_address(t) for t in theirs.values()]


@DEPRECATED
@pytest.mark.parametrize("norm", FORMS.values(), ids=FORMS)
def test_a_folder_saved_in_this_state_loads_what_it_was(norm: Norm, tmp_path: Path) -> None:
    model = normed(norm)
    for module in model.modules():
        for hook in module._forward_pre_hooks.values():
            hook(module, ())  # the older form makes the weight when it runs
    want = {name: module.weight for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv1d)}
    model.save_pretrained(tmp_path)
    loaded = load_model(str(tmp_path))
    assert not any(name.endswith(GAINS) for name, _ in loaded.named_parameters() if "pos_conv" not in name)
    assert all(torch.equal(loaded.get_submodule(name).weight, weight) for name, weight in want.items())
