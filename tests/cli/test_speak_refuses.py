"""``speak``: what is refused, and before what."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compiler.speecht5 import checkpoint
from compiler.speecht5 import text as texts
from compiler.speecht5.reading import UNSAFE


class Trap:
    """Leaves a file when it is unpickled."""

    def __reduce__(self):
        return open, ("sprung", "w")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the text is empty: there is nothing to say"),
        (" \t\n", "the text is empty: there is nothing to say"),
        ("\u200b", "the tokenizer finds nothing to say in the text '\\u200b'"),
        ("\u200b" * 99, f"the tokenizer finds nothing to say in the text '{'\\u200b' * 60}...'"),
        ("\udcff", "the text holds bytes that are no UTF-8: b'\\xff'"),
        (
            "Room 7, é 7",
            "the tokenizer does not know '7', 'é': spell the text with "
            "a b c d e f g h i k l m n o p r s t u v w x y z , . ? and spaces (case does not matter)",
        ),
        ("a</s>", "the tokenizer does not know '<', '/', '>': spell the text with"),
        ("a\u0301", "the tokenizer does not know '\u0301': spell the text with"),
        ("two " * 60 + "one" * 70, "the word 'oneoneoneoneoneoneon...' at line 1, column 241 has 212 tokens, and a"),
        ("one " * 300_000, "the text has more than 1048576 bytes: split it"),
    ],
)
def test_text_that_cannot_be_said(refused, text, message):
    assert refused("speak", text).startswith(message)


def test_a_tokenizer_that_keeps_case_is_probed_for_both_cases():
    class Tokens:
        unk_token_id = 0

        def __call__(self, text, split_special_tokens, verbose):
            self.input_ids = ["_aB1!".find(c) if c in "aB1!" else 0 for c in text]
            return self

        def tokenize(self, text):
            return list(text)

    assert texts._unknown(Tokens(), "ab") == "the tokenizer does not know 'b': spell the text with 1 a B ! and spaces"


@pytest.mark.parametrize(
    ("speaker", "message"),
    [
        (
            "bob",
            "there is no speaker 'bob': the checkpoint has angus, anna; a file would end in .npy, "
            ".npz, .pt or .safetensors",
        ),
        ("bob.npy", "there is no speaker file 'bob.npy'"),
        ("long.npy", "the speaker 'long.npy' is float64 [17], and the model takes 16 real numbers: use a vector"),
        ("two.npy", "the speaker 'two.npy' is float64 [2, 16], and the model takes 16 real numbers: use a vector"),
        ("complex.npy", "the speaker 'complex.npy' is complex128 [16], and the model takes 16 real numbers: use a"),
        ("nan.npy", "the speaker 'nan.npy' has numbers that are infinite or not a number"),
        ("huge.npy", "the speaker 'huge.npy' has numbers that are infinite or not a number"),
        ("junk.npy", "the speaker file 'junk.npy' cannot be read: "),
        ("junk.safetensors", "the speaker file 'junk.safetensors' cannot be read: "),
        ("object.npy", f"the speaker file 'object.npy' cannot be read: {UNSAFE}"),
        ("object.npz", f"the speaker file 'object.npz' cannot be read: {UNSAFE}"),
        ("code.pt", f"the speaker file 'code.pt' cannot be read: {UNSAFE}"),
        ("junk.pt", "the speaker file 'junk.pt' cannot be read: "),
        ("text.pt", "the speaker file 'text.pt' holds a str, and one vector is expected"),
        ("two.npz", "the speaker file 'two.npz' holds 2 tensors, and one vector is expected"),
        ("two.safetensors", "the speaker file 'two.safetensors' holds 2 tensors, and one vector is expected"),
    ],
)
def test_a_speaker_that_there_is_not(refused, speaker, message):
    np.save("long.npy", np.zeros(17))
    np.save("nan.npy", np.full(16, np.nan))
    np.save("two.npy", np.zeros((2, 16)))
    np.save("complex.npy", np.zeros(16, complex))
    np.save("huge.npy", np.full(16, 1e300))
    np.save("object.npy", np.array([None] * 16), allow_pickle=True)
    np.savez("object.npz", np.array([None] * 16))
    np.savez("two.npz", np.zeros(16), np.zeros(16))
    torch.save(Trap(), "code.pt")
    torch.save("anna", "text.pt")
    Path("junk.pt").write_bytes(b"junk")
    Path("junk.npy").write_bytes(b"junk")
    Path("junk.safetensors").write_bytes(b"junk")
    save_file({"a": torch.zeros(16), "b": torch.zeros(16)}, "two.safetensors")
    said = refused("speak", "one", "--speaker", speaker)
    assert said.startswith(message)
    assert not any(advice in said for advice in ("weights_only", "allow_pickle", "trust"))
    assert not Path("sprung").exists(), "nothing in a file is run"


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
        (("--seed", "-1"), "--seed -1: a whole number of at least 0 is expected"),
        (("--seed", str(2**63)), f"--seed {2**63}: a whole number of at most {2**63 - 1} is expected"),
        (("--threshold", "nan"), "--threshold=nan: a number is expected"),
        (("--max-len-ratio", "inf"), "--max-len-ratio=inf: a finite number is expected"),
        (("--min-len-ratio", "-inf"), "--min-len-ratio=-inf: a finite number is expected"),
        (("--pause", "-1"), "--pause=-1.0: seconds from 0 to 60 are expected"),
        (("--pause", "nan"), "--pause=nan: a finite number is expected"),
        (("--longest", "0"), "--longest=0: a whole number of at least 1 is expected"),
        (("--batch", "0"), "--batch=0: a whole number of at least 1 is expected"),
        (("--weights", "mixed"), "--weights mixed with --precision float32: only a plan in bfloat16"),
        (
            ("--disable", "fold-scales"),
            "--disable fold-scales: there is no such pass that runs by default, did you ",
        ),
        (("--model", ""), "the name of a checkpoint is empty: name a folder, or OWNER/NAME on the hub"),
        (("--tokenizer", ""), "the name of a checkpoint is empty: name a folder, or OWNER/NAME on the hub"),
        (("--tokenizer", "no/such/one"), "there is no checkpoint folder 'no/such/one' (a name on the hub would be"),
        (("--tokenizer", "."), "the checkpoint '.' has no tokenizer: copy its sentencepiece model spm_char.model into"),
        (("-o", "."), "'.' is a folder: name a file in it"),
        (("-o", "no/such/speech.wav"), "there is no folder 'no/such' to write 'speech.wav' in: make it first"),
        (
            ("-o", "/dev/null"),
            "'/dev/null' is no ordinary file, and would be replaced by one: name another, or - for stan",
        ),
        (("-o", ""), "'.' is a folder: name a file in it"),
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
