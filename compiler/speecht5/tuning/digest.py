"""A digest of a model's graphs and weights: what a tuned plan holds for."""

from __future__ import annotations

import hashlib
from typing import Any

from compiler.ir.text import to_text

GRAPHS = ("encoder", "utterance", "decoder_step", "postnet")


def digest(compiled: Any) -> str:
    """Return a digest of the imported graphs, for their smallest buckets, and of all weights.

    It is the same for all plans of a ``CompiledSpeechT5``, and changes with its lengths, its post-net and its batch.
    Weights are part of it: whether a plan's numbers are right depends on them.
    """
    found = hashlib.sha256()
    parts = [(compiled, GRAPHS), *([] if compiled.vocoder is None else [(compiled.vocoder, ("vocoder",))])]
    for model, names in parts:
        for name in names:
            imported = model.stages(name).records[0].graph
            found.update(to_text(imported, origins=False).encode())
        for name, tensor in sorted(model.source.model.state_dict().items()):
            found.update(name.encode())
            found.update(tensor.detach().contiguous().cpu().numpy().tobytes())
    return found.hexdigest()[:32]
