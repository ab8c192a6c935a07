"""The same speech by OpenVINO, in an environment of its own: ``python openvino_peer.py TOKENS STEPS THREADS``.

It is run as a file, by an interpreter that has ``optimum-intel`` and no package of ours. It prints a line when it is
ready; for each line that it reads it makes an utterance with sound and prints how many seconds that took.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def exported(folder: Path, threads: int) -> Any:
    """OpenVINO's float32 form of a model and a vocoder of the default configurations, with random weights."""
    import torch  # noqa: PLC0415
    from optimum.exporters.openvino import export_from_model  # noqa: PLC0415
    from optimum.intel import OVModelForTextToSpeechSeq2Seq  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        SpeechT5Config,
        SpeechT5ForTextToSpeech,
        SpeechT5HifiGan,
        SpeechT5HifiGanConfig,
    )

    torch.manual_seed(0)
    model = SpeechT5ForTextToSpeech(SpeechT5Config()).eval()
    model.config.architectures = [type(model).__name__]  # by which it is told when it is loaded
    SpeechT5HifiGan(SpeechT5HifiGanConfig()).eval().save_pretrained(folder / "vocoder")
    export_from_model(
        model,
        output=folder / "exported",
        task="text-to-audio-with-past",
        model_kwargs={"vocoder": str(folder / "vocoder")},
        preprocessors=[],
    )
    config = {"INFERENCE_NUM_THREADS": str(threads), "INFERENCE_PRECISION_HINT": "f32", "CACHE_DIR": ""}
    return OVModelForTextToSpeechSeq2Seq.from_pretrained(folder / "exported", ov_config=config)


def main(tokens: int, steps: int, threads: int) -> None:
    """Export, then speak once for each line on standard input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    import torch  # noqa: PLC0415

    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        model = exported(Path(folder), threads)
        config = model.config
        words, voices = (torch.Generator().manual_seed(seed) for seed in (1, 2))
        ids = torch.randint(4, config.vocab_size, (1, tokens), generator=words, dtype=torch.int64, device="cpu")
        shape = (1, config.speaker_embedding_dim)
        voice = torch.randn(shape, generator=voices, dtype=torch.float32, device="cpu")
        ratio = steps * config.reduction_factor / tokens

        def speak() -> Any:
            return model.generate(ids, speaker_embeddings=voice, minlenratio=ratio, maxlenratio=ratio)

        print(int(speak().numel()), file=answers, flush=True)
        for _ in sys.stdin:
            begin = time.perf_counter()
            speak()
            print(time.perf_counter() - begin, file=answers, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
