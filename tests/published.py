"""A replica of what the hub's cache holds of the published checkpoints: their layout, files and names, small weights.

Sizes that a user meets are the published ones: 600 text and 1876 speech positions, 81 tokens, two frames a step, 80
mels, x-vectors of 512. Layers and widths are small. What the files hold besides is written as these checkpoints hold
it, which is older than what transformers saves today: their configurations carry lengths for generation, the tables of
positions (``pe``) are among the weights, and the weights lie in ``pytorch_model.bin``.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy
import sentencepiece
import torch
from safetensors.torch import save as to_safetensors
from transformers import SpeechT5Config, SpeechT5HifiGan, SpeechT5HifiGanConfig

from tests.models import lively

MODEL, VOCODER, SPEAKERS = "microsoft/speecht5_tts", "microsoft/speecht5_hifigan", "Matthijs/cmu-arctic-xvectors"
ARCHIVE = "spkrec-xvect.zip"
UTTERANCES = ("bdl_arctic-wav-arctic_a0009", "slt_arctic-wav-arctic_a0508")
SMALL = {
    "hidden_size": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "speech_decoder_prenet_units": 32,
    "speech_decoder_postnet_units": 32,
}
"""What is smaller here than in the published configuration."""
CONFIG: dict[str, Any] = {
    "activation_dropout": 0.1,
    "apply_spec_augment": True,
    "architectures": ["SpeechT5ForTextToSpeech"],
    "attention_dropout": 0.1,
    "bos_token_id": 0,
    "conv_bias": False,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "decoder_attention_heads": 12,
    "decoder_ffn_dim": 3072,
    "decoder_layerdrop": 0.1,
    "decoder_layers": 6,
    "decoder_start_token_id": 2,
    "encoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "encoder_layerdrop": 0.1,
    "encoder_layers": 12,
    "encoder_max_relative_position": 160,
    "eos_token_id": 2,
    "feat_extract_activation": "gelu",
    "feat_extract_norm": "group",
    "feat_proj_dropout": 0.0,
    "guided_attention_loss_num_heads": 2,
    "guided_attention_loss_scale": 10.0,
    "guided_attention_loss_sigma": 0.4,
    "hidden_act": "gelu",
    "hidden_dropout": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "is_encoder_decoder": True,
    "layer_norm_eps": 1e-05,
    "mask_feature_length": 10,
    "mask_feature_min_masks": 0,
    "mask_feature_prob": 0.0,
    "mask_time_length": 10,
    "mask_time_min_masks": 2,
    "mask_time_prob": 0.05,
    "max_length": 1876,
    "max_speech_positions": 1876,
    "max_text_positions": 600,
    "model_type": "speecht5",
    "num_conv_pos_embedding_groups": 16,
    "num_conv_pos_embeddings": 128,
    "num_feat_extract_layers": 7,
    "num_mel_bins": 80,
    "pad_token_id": 1,
    "positional_dropout": 0.1,
    "reduction_factor": 2,
    "scale_embedding": False,
    "speaker_embedding_dim": 512,
    "speech_decoder_postnet_dropout": 0.5,
    "speech_decoder_postnet_kernel": 5,
    "speech_decoder_postnet_layers": 5,
    "speech_decoder_postnet_units": 256,
    "speech_decoder_prenet_dropout": 0.5,
    "speech_decoder_prenet_layers": 2,
    "speech_decoder_prenet_units": 256,
    "torch_dtype": "float32",
    "transformers_version": "4.26.0.dev0",
    "use_cache": True,
    "use_guided_attention_loss": True,
    "vocab_size": 81,
}
VOCODER_CONFIG: dict[str, Any] = {
    "architectures": ["SpeechT5HifiGan"],
    "initializer_range": 0.01,
    "leaky_relu_slope": 0.1,
    "model_in_dim": 80,
    "model_type": "hifigan",
    "normalize_before": True,
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "resblock_kernel_sizes": [3, 7, 11],
    "sampling_rate": 16000,
    "torch_dtype": "float32",
    "transformers_version": "4.26.0.dev0",
    "upsample_initial_channel": 512,
    "upsample_kernel_sizes": [8, 8, 8, 8],
    "upsample_rates": [4, 4, 4, 4],
}
MASK = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": True} | dict.fromkeys(
    ("rstrip", "single_word"), False
)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def hub(home: Path, weights: str) -> None:
    """Fill ``home``, a folder for ``HF_HOME``. ``weights`` names the file of weights and so its format."""
    _repository(home, "models", MODEL, _model(weights))
    _repository(home, "models", VOCODER, _vocoder(weights))
    _repository(home, "datasets", SPEAKERS, {ARCHIVE: _speakers()})


def xvector(utterance: str) -> numpy.ndarray[Any, Any]:
    """The speaker's vector float32 [512] that is made of an utterance: of length one."""
    drawn = numpy.random.default_rng(UTTERANCES.index(utterance)).standard_normal(512).astype(numpy.float32)
    return drawn / numpy.linalg.norm(drawn)


def _repository(home: Path, kind: str, name: str, files: dict[str, bytes]) -> None:
    """As huggingface_hub keeps it: contents by their hash, and a folder of links for each commit."""
    root, commit = home / "hub" / f"{kind}--{name.replace('/', '--')}", hashlib.sha1(name.encode()).hexdigest()
    snapshot = root / "snapshots" / commit
    for folder in (root / "blobs", root / "refs", snapshot):
        folder.mkdir(parents=True)
    (root / "refs/main").write_text(commit)
    for file, content in files.items():
        blob = hashlib.sha256(content).hexdigest()
        (root / "blobs" / blob).write_bytes(content)
        (snapshot / file).symlink_to(Path("../../blobs") / blob)


def _model(weights: str) -> dict[str, bytes]:
    model = lively(SpeechT5Config(**{**CONFIG, **SMALL}), stop_bias=-6.1)
    model.speech_decoder_postnet.prob_out.weight.data.mul_(4.0)  # the page's sentence ends by itself
    state = dict(model.state_dict())
    for part, positions in (("encoder", 600), ("decoder", 1876)):
        table = model.get_submodule(f"speecht5.{part}.prenet.encode_positions").pe
        assert table.shape == (1, positions, 64)
        state[f"speecht5.{part}.prenet.encode_positions.pe"] = table.clone()
    return {
        "config.json": _json(CONFIG | SMALL),
        "generation_config.json": _json(
            {"_from_model_config": True, "max_length": 1876, "transformers_version": "4.26.0.dev0"}
            | {
                f"{name}_token_id": number
                for name, number in (("bos", 0), ("pad", 1), ("eos", 2), ("decoder_start", 2))
            }
        ),
        "preprocessor_config.json": _json(
            {"feature_extractor_type": "SpeechT5FeatureExtractor", "num_mel_bins": 80, "sampling_rate": 16000}
            | {"processor_class": "SpeechT5Processor", "reduction_factor": 2, "return_attention_mask": True}
        ),
        "tokenizer_config.json": _json(
            {**SPECIAL, "mask_token": MASK, "model_max_length": 600, "processor_class": "SpeechT5Processor"}
            | {"special_tokens_map_file": None, "sp_model_kwargs": {}, "tokenizer_class": "SpeechT5Tokenizer"}
        ),
        "special_tokens_map.json": _json({**SPECIAL, "mask_token": {k: v for k, v in MASK.items() if k != "__type"}}),
        "added_tokens.json": _json({"<ctc_blank>": 80, "<mask>": 79}),
        "spm_char.model": _sentencepiece(),
        weights: _weights(weights, state),
    }


def _vocoder(weights: str) -> dict[str, bytes]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = VOCODER_CONFIG | {"upsample_initial_channel": 32}
        vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**config))
        for name, parameter in vocoder.named_parameters():
            if name.endswith("weight"):  # as drawn by transformers, they make silence
                parameter.data.normal_(std=parameter[0].numel() ** -0.5)
        state = {**vocoder.state_dict(), "mean": torch.randn(80) - 3.0, "scale": 0.5 + torch.rand(80)}
    assert not [name for name in state if name.endswith("_g")], "weight norm is folded in the published weights"
    return {"config.json": _json(config), weights: _weights(weights, state)}


def _speakers() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for utterance in UTTERANCES:
            vector = io.BytesIO()
            numpy.save(vector, xvector(utterance))
            archive.writestr(f"spkrec-xvect/cmu_us_{utterance}.npy", vector.getvalue())
    return made.getvalue()


def _sentencepiece() -> bytes:
    """79 pieces: four special ones, then characters without any digit; what the published tokenizer adds makes 81."""
    letters = "etaonihsrdlumwcfgypbvkxjqz"
    others = ",.-;:!?'\"()[]/&*$%+=@#"
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"{letters} {letters.upper()} {others}"] * 4),
        model_writer=model,
        model_type="char",
        vocab_size=79,
        character_coverage=1.0,
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    return model.getvalue()


def _weights(name: str, state: dict[str, torch.Tensor]) -> bytes:
    if name.endswith(".safetensors"):
        return to_safetensors({key: tensor.contiguous() for key, tensor in state.items()}, metadata={"format": "pt"})
    made = io.BytesIO()
    torch.save(state, made)
    return made.getvalue()


def _json(content: dict[str, Any]) -> bytes:
    return f"{json.dumps(content, indent=2)}\n".encode()


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    """What a file of weights holds."""
    from safetensors.torch import load_file

    return load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
