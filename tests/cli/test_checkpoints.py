"""Checkpoints that cannot be used: each is refused in one line."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def without_parameters(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    for name in [n for n in tensors if n.startswith("speech_decoder_postnet.layers.0")]:
        del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


SPOILT = {
    "no config.json": (
        lambda f: (f / "config.json").unlink(),
        2,
        "'{f}' is no checkpoint folder: it has no config.json",
    ),
    "broken config.json": (
        lambda f: (f / "config.json").write_text("{"),
        2,
        "'{f}/config.json' cannot be read as JSON: ",
    ),
    "config.json of a list": (
        lambda f: (f / "config.json").write_text("[]"),
        2,
        "'{f}/config.json' holds no JSON object, but a list",
    ),
    "wrong type in config.json": (
        lambda f: edit(f / "config.json", encoder_layers="two"),
        2,
        "SpeechT5ForTextToSpeech could not be loaded from '{f}': Validation error for field 'encoder_layers': ",
    ),
    "another model": (
        lambda f: edit(f / "config.json", model_type="bert", architectures=["BertModel"]),
        1,
        "'{f}' holds BertModel of model type 'bert', and not a SpeechT5ForTextToSpeech",
    ),
    "speech recognition": (
        lambda f: edit(f / "config.json", architectures=["SpeechT5ForSpeechToText"]),
        1,
        "'{f}' holds SpeechT5ForSpeechToText of model type 'speecht5', and not a SpeechT5ForTextToSpeech",
    ),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        2,
        "SpeechT5ForTextToSpeech could not be loaded from '{f}': Error no file named model.safetensors",
    ),
    "corrupt weights": (
        lambda f: cut(f / "model.safetensors"),
        2,
        "SpeechT5ForTextToSpeech could not be loaded from '{f}': Error while deserializing header",
    ),
    "missing parameters": (
        without_parameters,
        1,
        "the checkpoint '{f}' lacks parameters or has them in other shapes: "
        "speech_decoder_postnet.layers.0.batch_norm.bias, ",
    ),
    "parameters of other shapes": (
        lambda f: edit(f / "config.json", vocab_size=40),
        1,
        "the checkpoint '{f}' lacks parameters or has them in other shapes: "
        "speecht5.encoder.prenet.embed_tokens.weight [32, 128] for [40, 128]",
    ),
    "no tokenizer": (
        lambda f: [(f / name).unlink() for name in ("spm_char.model", "tokenizer_config.json")],
        2,
        "the checkpoint '{f}' has no tokenizer: copy its sentencepiece model spm_char.model into the folder",
    ),
    "no sentencepiece model": (
        lambda f: (f / "spm_char.model").unlink(),
        2,
        "the checkpoint '{f}' has no tokenizer: copy its sentencepiece model spm_char.model into the folder",
    ),
    "empty sentencepiece model": (
        lambda f: (f / "spm_char.model").write_bytes(b""),
        2,
        "SpeechT5Tokenizer could not be loaded from '{f}': ",
    ),
    "corrupt speakers": (
        lambda f: cut(f / "speakers.safetensors") or (f / "speakers.safetensors").write_bytes(b"junk"),
        2,
        "speakers could not be loaded from '{f}/speakers.safetensors': Error while deserializing header",
    ),
    "another model for a vocoder": (
        lambda f: (f / "vocoder" / "config.json").write_text((f / "config.json").read_text()),
        1,
        "'{f}/vocoder' holds SpeechT5ForTextToSpeech of model type 'speecht5', and not a SpeechT5HifiGan",
    ),
    "empty vocoder folder": (
        lambda f: [file.unlink() for file in (f / "vocoder").iterdir()],
        2,
        "'{f}/vocoder' is no checkpoint folder: it has no config.json",
    ),
    "corrupt vocoder": (
        lambda f: cut(f / "vocoder" / "model.safetensors"),
        2,
        "SpeechT5HifiGan could not be loaded from '{f}/vocoder': Error while deserializing header",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_checkpoint(refused, checkpoint, name):
    spoil, code, message = SPOILT[name]
    spoil(checkpoint)
    assert refused("speak", "one", "--model", checkpoint, code=code).startswith(message.format(f=checkpoint))


def test_a_vocoder_of_other_mels(refused, checkpoint, tmp_path):
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    sizes = {"upsample_rates": [4], "upsample_kernel_sizes": [8], "resblock_kernel_sizes": [3]}
    config = SpeechT5HifiGanConfig(model_in_dim=40, resblock_dilation_sizes=[[1]], upsample_initial_channel=8, **sizes)
    other = tmp_path / "other"
    SpeechT5HifiGan(config).save_pretrained(other)
    assert refused("speak", "one", "--model", checkpoint, "--vocoder", other) == (
        f"the vocoder '{other}' takes 40 mels a frame and the model '{checkpoint}' makes 80: "
        "name the vocoder that belongs to the model"
    )


@pytest.mark.parametrize("source", ["missing", "./missing", "a/b/c", "/missing/one", "missing/"])
def test_a_missing_folder_is_not_asked_for_on_the_hub(refused, source):
    message = f"there is no checkpoint folder '{source}' (a name on the hub would be OWNER/NAME)"
    assert refused("speak", "one", "--model", source) == message
    assert refused("speak", "one", "--vocoder", source) == message
    assert refused("compile", "--model", source) == message
    assert refused("inspect", "encoder", "--model", source) == message


def test_a_file_is_no_checkpoint(refused):
    Path("file").touch()
    assert refused("speak", "one", "--model", "file") == "'file' is no checkpoint folder: it has no config.json"


def test_a_hub_out_of_reach(refused, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = (
        "config.json of 'owner/name': there is no such folder, and the Hugging Face hub could not be reached. Where "
        "there is a network, save the checkpoint to a folder with save_pretrained; then name the folder"
    )
    assert refused("speak", "one", "--model", "owner/name") == message
    assert refused("speak", "one", "--vocoder", "owner/name") == message


def test_a_name_that_the_hub_does_not_have(refused, monkeypatch):
    def answer(source: str) -> None:
        raise OSError(f"{source} is not a local folder\nand is not listed on the hub\nmore words")

    monkeypatch.setattr("transformers.SpeechT5Config.get_config_dict", answer)
    assert refused("speak", "one", "--model", "owner/name") == (
        "config.json could not be loaded from 'owner/name': "
        "owner/name is not a local folder and is not listed on the hub"
    )
