"""Checkpoints that cannot be used: each is refused in one line."""

import json
import pickle
import traceback
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler import InvalidArgument
from compiler.speecht5.checkpoint import load_model
from compiler.speecht5.reading import UNSAFE


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def without_parameters(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    for name in [n for n in tensors if n.startswith("speech_decoder_postnet.layers.0")]:
        del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


class Trap:
    """Leaves a file when it is unpickled."""

    def __reduce__(self):
        return open, ("sprung", "w")


def as_bin(folder: Path, held: object) -> None:
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    file.write_bytes(held) if isinstance(held, bytes) else torch.save(held, file)


def as_for_recognition(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["speecht5.encoder.prenet.embed_tokens.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    description = json.loads((folder / "config.json").read_text())
    del description["architectures"]
    (folder / "config.json").write_text(json.dumps(description))


def fewer_tokens(folder: Path) -> None:
    tensors, name = load_file(folder / "model.safetensors"), "speecht5.encoder.prenet.embed_tokens.weight"
    save_file(tensors | {name: tensors[name][:8].clone()}, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", vocab_size=8)


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
        "config.json could not be loaded from '{f}': Validation error for field 'encoder_layers': ",
    ),
    "a size that is none": (
        lambda f: edit(f / "config.json", hidden_size="x"),
        2,
        "config.json could not be loaded from '{f}': Validation error for field 'hidden_size': ",
    ),
    "another model": (
        lambda f: edit(f / "config.json", model_type="bert", architectures=["BertModel"]),
        2,
        "'{f}' holds BertModel of model type 'bert', and not a SpeechT5ForTextToSpeech",
    ),
    "speech recognition": (
        lambda f: edit(f / "config.json", architectures=["SpeechT5ForSpeechToText"]),
        2,
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
        "SpeechT5ForTextToSpeech could not be loaded from '{f}': model.safetensors is damaged (Error while ",
    ),
    "missing parameters": (
        without_parameters,
        2,
        "the checkpoint '{f}' lacks parameters or has them in other shapes: "
        "speech_decoder_postnet.layers.0.batch_norm.bias, ",
    ),
    "parameters of other shapes": (
        lambda f: edit(f / "config.json", vocab_size=40),
        2,
        "the checkpoint '{f}' lacks parameters or has them in other shapes: "
        "speecht5.encoder.prenet.embed_tokens.weight [32, 128] for [40, 128]",
    ),
    "an activation that there is not": (
        lambda f: edit(f / "config.json", hidden_act="gelu_nw"),
        2,
        "config.json of '{f}' has hidden_act='gelu_nw', and transformers has no such activation: did you mean "
        "'gelu_new' or 'gelu'?",
    ),
    "weights for speech recognition": (
        as_for_recognition,
        2,
        "the checkpoint '{f}' lacks parameters or has them in other shapes: speecht5.encoder.prenet.embed_tokens.weight"
        "; is it a checkpoint for text to speech?",
    ),
    "weights with code in them": (
        lambda f: as_bin(f, {**load_file(f / "model.safetensors"), "x": Trap()}),
        2,
        f"SpeechT5ForTextToSpeech could not be loaded from '{{f}}': {UNSAFE}",
    ),
    "a pickle for weights": (
        lambda f: as_bin(f, pickle.dumps({"x": Trap()})),
        2,
        f"SpeechT5ForTextToSpeech could not be loaded from '{{f}}': {UNSAFE}",
    ),
    "junk for weights": (
        lambda f: as_bin(f, b"junk"),
        2,
        "SpeechT5ForTextToSpeech could not be loaded from '{f}': it is damaged, or of another kind (",
    ),
    "a vocoder with code in it": (
        lambda f: as_bin(f / "vocoder", {"x": Trap()}),
        2,
        f"SpeechT5HifiGan could not be loaded from '{{f}}/vocoder': {UNSAFE}",
    ),
    "a list of words in no UTF-8": (
        lambda f: (f / "words.txt").write_bytes(b"\xff"),
        2,
        "the list of words could not be loaded from '{f}/words.txt': 'utf-8' codec can't decode byte 0xff",
    ),
    "a tokenizer with more tokens than the model": (
        fewer_tokens,
        2,
        "the tokenizer makes token 8 of the text, and the model's go from 0 to 7: name the tokenizer that belongs to",
    ),
    "no tokenizer": (
        lambda f: [(f / name).unlink() for name in ("spm_char.model", "tokenizer_config.json")],
        2,
        "the checkpoint '{f}' has no tokenizer: copy its sentencepiece model spm_char.model into the folder, or",
    ),
    "no sentencepiece model": (
        lambda f: (f / "spm_char.model").unlink(),
        2,
        "the checkpoint '{f}' has no tokenizer: copy its sentencepiece model spm_char.model into the folder, or",
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
        2,
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
        "SpeechT5HifiGan could not be loaded from '{f}/vocoder': model.safetensors is damaged (Error while ",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_checkpoint(refused, checkpoint, name):
    spoil, code, message = SPOILT[name]
    spoil(checkpoint)
    said = refused("speak", "one", "--model", checkpoint, code=code)
    assert said.startswith(message.format(f=checkpoint))
    assert not any(advice in said for advice in ("weights_only", "trust", "arbitrary"))
    assert not Path("sprung").exists(), "nothing in a checkpoint is run"


def test_the_cause_of_a_refusal_gives_no_unsafe_advice(checkpoint):
    """What Python shows of it in a traceback."""
    as_bin(checkpoint, {"x": Trap()})
    with pytest.raises(InvalidArgument) as refusal:
        load_model(str(checkpoint))
    assert "weights_only" not in "".join(traceback.format_exception(refusal.value))


def test_weights_in_the_older_form(run, checkpoint, voice):
    as_bin(checkpoint, load_file(checkpoint / "model.safetensors"))
    loaded = load_model(str(checkpoint)).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in voice.model.state_dict().items())


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
