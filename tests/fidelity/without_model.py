"""Speaks from a file with texts of graphs, weights and plain data, in a process that has no transformers."""

from __future__ import annotations

import json

import torch

from compiler.dialects import DIALECTS
from compiler.ir.constants import Literal
from compiler.ir.parse import parse
from compiler.runtime.executable import Executable
from compiler.runtime.reference import ReferenceExecutor
from compiler.runtime.weights import Weights
from compiler.speecht5.decoding import decode
from compiler.speecht5.limits import Limits
from compiler.speecht5.request import LoopOptions, Request
from compiler.speecht5.speech_model import Reach, SpeechConstants, SpeechModel


def main(path: str) -> None:
    stored = torch.load(path, weights_only=True)
    weights = Weights(stored["weights"])
    graphs = {
        key: Executable(parse(text, DIALECTS, {name: Literal(t) for name, t in held.items()}), weights)
        for key, (text, held) in stored["graphs"].items()
    }
    told = json.loads(stored["told"])
    told["constants"]["prenet_bias"] = tuple(told["constants"]["prenet_bias"])
    told["constants"]["postnet_reach"] = Reach(**told["constants"]["postnet_reach"])
    model = SpeechModel(
        lambda name, **lengths: graphs[f"{name} {json.dumps(lengths)}"],
        SpeechConstants(**told["constants"]),
        Limits(**told["limits"]),
        batch_size=told["batch_size"],
        exact_postnet=False,
    )
    request = Request.checked(model, stored["ids"], stored["speakers"], None)
    generator = torch.Generator().manual_seed(7)
    made = decode(
        model,
        request,
        LoopOptions(
            executor=ReferenceExecutor(), threshold=0.5, minlenratio=0.0, maxlenratio=20.0, generator=generator
        ),
    )
    torch.save([*made.spectrograms], path)
