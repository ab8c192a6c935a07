"""The decoding loop takes graphs and plain data: no module, no configuration, no transformers."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compiler import CompiledSpeechT5
from compiler.ir.text import literals, to_text
from compiler.runtime.executable import Executable
from compiler.runtime.reference import ReferenceExecutor
from compiler.speecht5.components import constants_of
from compiler.speecht5.decoding import decode
from compiler.speecht5.request import LoopOptions, Request
from tests.fidelity.test_generate_speech import padded_batch, small
from tests.models import lively, speaker
from tests.shared import Pair

ELSEWHERE = """import sys
sys.modules["transformers"] = None  # importing it raises
from tests.fidelity.without_model import main
main(sys.argv[1])"""


def spoken_and_stored(model: Any, compiled: CompiledSpeechT5, path: Path) -> list[torch.Tensor]:
    """Speak, and store what that took: texts of graphs with large literals, weights, and numbers as JSON."""
    asked: dict[str, Executable] = {}

    def graph(name: str, **lengths: int) -> Executable:
        return asked.setdefault(f"{name} {json.dumps(lengths)}", compiled.graph(name, **lengths))

    ids, voices = padded_batch(model.config), speaker(model.config, rows=3)
    source = replace(compiled.speech_model, graph=graph)
    options = LoopOptions(
        executor=ReferenceExecutor(),
        threshold=0.5,
        minlenratio=0.0,
        maxlenratio=20.0,
        generator=torch.Generator().manual_seed(7),
    )
    made = decode(source, Request.checked(source, ids, voices, None), options)
    told = {"constants": asdict(source.constants), "limits": asdict(source.limits), "batch_size": source.batch_size}
    graphs = {
        key: (to_text(one.graph), {name: literal.tensor for name, literal in literals(one.graph).items()})
        for key, one in asked.items()
    }
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    weights = {name: tensor.detach() for name, tensor in weights.items()}
    torch.save({"graphs": graphs, "weights": weights, "told": json.dumps(told), "ids": ids, "speakers": voices}, path)
    return [*made.spectrograms]


def test_the_loop_runs_where_there_is_no_model_and_no_transformers(hesitant: Pair, tmp_path: Path) -> None:
    wanted = spoken_and_stored(*hesitant, tmp_path / "stored")
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path / "stored")], check=True, timeout=120)
    got = torch.load(tmp_path / "stored", weights_only=True)
    assert len(got) == len(wanted)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got, wanted, strict=True))


@pytest.mark.parametrize("changes", [{}, {"reduction_factor": 3, "speech_decoder_prenet_layers": 1}])
def test_the_constants_are_plain_and_those_of_the_model(changes: dict[str, Any]) -> None:
    model = lively(small(**changes))
    constants = constants_of(model)
    assert pickle.loads(pickle.dumps(constants)) == constants
    assert constants.reduction_factor == model.config.reduction_factor
    bias = model.speecht5.decoder.prenet.layers[0].bias
    assert torch.equal(torch.tensor(constants.prenet_bias), bias) and bool(bias.any())
    model.speecht5.decoder.prenet.layers[0].register_forward_hook(lambda *_: None)
    assert constants_of(model).prenet_bias == (0.0,) * len(bias), "a layer that was changed adds its own"
