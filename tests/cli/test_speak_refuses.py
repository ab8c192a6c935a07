"""``speak``: what is refused, and before what."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compiler import checkpoint, speaking


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty: there is nothing to say"),
        (" \t\n", "the text is empty: there is nothing to say"),
        ("\u200b", "the tokenizer finds nothing to say in the text '\\u200b'"),
        ("\udcff", "the text holds bytes that are no UTF-8: '\\udcff'"),
        (
            "Room 7, é 7",
            "the tokenizer does not know '7', 'é': spell the text with "
            "a b c d e f g h i k l m n o p r s t u v w x y z , . ? and spaces (case does not matter)",
        ),
        ("a</s>", "the tokenizer does not know '<', '/', '>': spell the text with"),
        ("a\u0301", "the tokenizer does not know '\u0301': spell the text with"),
        ("one two " * 30, "the text has 241 tokens, the longest that the model was compiled for has 200"),
    ],
)
def test_text_that_cannot_be_said(refused, text, message):
    assert refused("speak", text).startswith(message)


def test_a_tokenizer_that_keeps_case_is_probed_for_both_cases():
    class Tokens:
        unk_token_id = 0

        def __call__(self, text, split_special_tokens):
            self.input_ids = ["_aB1!".find(c) if c in "aB1!" else 0 for c in text]
            return self

        def tokenize(self, text):
            return list(text)

    assert (
        speaking._unknown(Tokens(), "ab") == "the tokenizer does not know 'b': spell the text with 1 a B ! and spaces"
    )


@pytest.mark.parametrize(
    ("speaker", "message"),
    [
        ("bob", "there is no speaker 'bob': the checkpoint has angus, anna; a file would end in .npy or .safetensors"),
        ("bob.npy", "there is no speaker file 'bob.npy'"),
        ("long.npy", "the speaker 'long.npy' has a vector of shape [17], and the model takes 16 numbers: use a vector"),
        ("nan.npy", "the speaker 'nan.npy' has numbers that are complex, infinite or not a number"),
        ("junk.npy", "the speaker file 'junk.npy' cannot be read: "),
        ("junk.safetensors", "the speaker file 'junk.safetensors' cannot be read: "),
        ("object.npy", "the speaker file 'object.npy' cannot be read: "),
        ("two.safetensors", "the speaker file 'two.safetensors' holds 2 tensors, and one vector is expected"),
    ],
)
def test_a_speaker_that_there_is_not(refused, speaker, message):
    np.save("long.npy", np.zeros(17))
    np.save("nan.npy", np.full(16, np.nan))
    np.save("object.npy", np.array([None] * 16), allow_pickle=True)
    Path("junk.npy").write_bytes(b"junk")
    Path("junk.safetensors").write_bytes(b"junk")
    save_file({"a": torch.zeros(16), "b": torch.zeros(16)}, "two.safetensors")
    assert refused("speak", "one", "--speaker", speaker).startswith(message)


def test_a_checkpoint_without_speakers_or_vocoder(refused, run, checkpoint, voice):
    (checkpoint / "speakers.safetensors").unlink()
    assert refused("speak", "one", "--model", checkpoint) == (
        "the checkpoint has no speakers: name a file with a speaker's vector (--speaker FILE)"
    )
    assert refused("speak", "one", "--model", checkpoint, "--speaker", "anna").startswith(
        "there is no speaker 'anna': the checkpoint has none; a file"
    )
    (checkpoint / "vocoder").rename(checkpoint / "apart")
    assert refused("speak", "one", "--model", checkpoint).startswith("the checkpoint has no vocoder, which turns")
    np.save("me.npy", voice.speakers["anna"])
    assert (
        run("speak", "one", "--model", checkpoint, "--speaker", "me.npy", "--vocoder", checkpoint / "apart").exit_code
        == 0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--precision", "float16"), "precision='float16' is not known: choose one of float32, bfloat16"),
        (("--board", "n1"), "board='n1' is not known: choose one of n150, n300, p150, p100"),
        (("--seed", "-1"), f"seed=-1: a whole number from 0 to {2**63 - 1} is expected"),
        (("--threshold", "nan"), "threshold=nan: a finite number of at least 0 is expected"),
        (("--max-len-ratio", "inf"), "maxlenratio=inf: a finite number of at least 0 is expected"),
        (("--min-len-ratio", "-1"), "minlenratio=-1.0: a finite number of at least 0 is expected"),
        (("-o", "."), "'.' is a folder: name a file in it"),
        (("-o", "no/such/speech.wav"), "there is no folder 'no/such' to write 'speech.wav' in: make it first"),
        (("-o", "/dev/null"), "'/dev/null' is no ordinary file, and would be replaced by one: name another"),
        (("-o", "speech.mp3"), "'speech.mp3': sound is written as WAV and not as MP3: name a .wav file"),
        (("-o", "x" * 300), f"'{'x' * 300}' cannot be written: File name too long"),
        (("-o", "/proc/speech.wav"), "'/proc/speech.wav' cannot be written: "),
    ],
)
def test_options_are_refused_before_a_model_is_loaded(refused, monkeypatch, options, message):
    monkeypatch.setattr(checkpoint, "load_voice", lambda *_: pytest.fail("loaded"))
    assert refused("speak", "one", *options).startswith(message)


def test_a_file_that_may_not_be_written_is_kept(refused, monkeypatch):
    Path("speech.wav").write_text("dear")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(checkpoint, "load_voice", lambda *_: pytest.fail("loaded"))
    assert refused("speak", "one") == "'speech.wav' is there already and may not be written"
