"""Text from standard input, sound to standard output, and what is said of a text before it is spoken."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compiler.cli import app
from compiler.speecht5 import checkpoint as checkpoints
from compiler.speecht5 import speaking
from compiler.speecht5.quiet import quiet
from scripts.small_voice.corpus import WORDS


@pytest.fixture
def piped(run):
    """Runs the command line on bytes of standard input."""
    return lambda given, *arguments: CliRunner().invoke(app, list(map(str, arguments)), input=given)


def test_sound_to_standard_output_and_all_else_to_standard_error(run, piped):
    told = run("speak", "four nine", "-o", "four.wav")
    streamed = piped(b"four\n nine\n", "speak", "-", "-o", "-")
    assert streamed.exit_code == told.exit_code == 0
    assert streamed.stdout_bytes == Path("four.wav").read_bytes()
    assert streamed.stderr.rpartition("factor")[0] == told.stdout.rpartition("factor")[0]
    assert streamed.stderr.endswith(": standard output\n")
    assert [file.name for file in Path().iterdir()] == ["four.wav"], "and no file named -"
    assert run("speak", "four nine", "-o", "./-").exit_code == 0
    assert Path("-").read_bytes() == streamed.stdout_bytes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "the text is empty: there is nothing to say"),
        (b" \n\n", "the text is empty: there is nothing to say"),
        (b"four \xff\xfe", r"the text holds bytes that are no UTF-8: b'four \xff\xfe'"),
        (b"one " * 300_000, "the text has more than 1048576 bytes: split it"),
        (
            b"one two\n  " + b"one" * 100 + b" two",
            "the word 'oneoneoneoneoneoneon...' at line 2, column 3 has 302 tokens, and a piece of text that is spoken "
            "at once has 40 at the most: put a space into it",
        ),
    ],
)
def test_standard_input_that_is_no_text(piped, monkeypatch, given, message):
    monkeypatch.setattr(checkpoints, "load_voice", lambda *_: pytest.fail("loaded"))
    result = piped(given, "speak", "-")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {message}\n")


def test_a_text_in_utf8_on_a_terminal_of_another_encoding(refused):
    """Python hands on what it cannot read as lone surrogates."""
    lone = "é".encode().decode("ascii", "surrogateescape")
    assert refused("speak", lone).startswith("the tokenizer does not know 'é': spell")


@pytest.mark.parametrize(
    ("text", "options", "lines"),
    [
        ("Hello, WORLD. four?", (), []),
        (
            "hello zorro, bumble zorro",
            (),
            ["the voice has never heard 'zorro', 'bumble', and mumbles there: it knows 47 words"],
        ),
        (
            "a b c d e f g",
            (),
            [
                "the voice has never heard 'a', 'b', 'c', 'd', 'e' and 2 more, and mumbles there: it knows 47 words",
            ],
        ),
        ("room 7, 4", ("--normalize",), ["the voice has never heard 'room', and mumbles there: it knows 47 words"]),
        (
            "one 0 0.5 7",
            ("--normalize",),
            ["transformers' normalisation leaves out '0': write it as a word", "'point'"],
        ),
    ],
)
def test_warnings_of_what_will_not_be_heard_as_written(run, text, options, lines):
    result = run("speak", text, "--max-len-ratio", "1", *options)
    assert result.exit_code == 0
    said = result.stderr.splitlines()
    assert len(said) == len(lines)
    assert all(line.startswith("warning: ") and wanted in line for line, wanted in zip(said, lines, strict=True))


def test_a_voice_without_a_list_of_words_is_not_warned_about(run, checkpoint):
    (checkpoint / "words.txt").unlink()
    result = run("speak", "zorro", "--model", checkpoint, "--max-len-ratio", "1")
    assert (result.exit_code, result.stderr) == (0, "")


def test_the_list_of_words_is_what_the_voice_was_taught():
    assert checkpoints.known_words(str(checkpoints.SMALL_VOICE)) == set(WORDS)


def test_numbers_are_spelt_out_as_the_tokenizer_does_it(run, refused, voice, compiled):
    assert run("speak", "four 7", "--normalize", "-o", "digits.wav").exit_code == 0
    assert run("speak", "four seven", "-o", "words.wav").exit_code == 0
    assert Path("digits.wav").read_bytes() == Path("words.wav").read_bytes()
    assert refused("speak", "four 7").endswith("(case does not matter); --normalize spells numbers out")
    assert refused("speak", "four 7", "--no-normalize").endswith("; --normalize spells numbers out")
    assert refused("speak", "9" * 50, "--normalize") == (
        f"the tokenizer cannot spell out the numbers in the text '{'9' * 50}': write them as words"
    )
    with quiet():
        own = checkpoints.load_tokenizer(str(checkpoints.SMALL_VOICE), normalize=True)
    spelt = checkpoints.Voice(voice.model, own, voice.speakers, voice.vocoder)
    assert [ids.tolist() for ids in speaking.prepare(spelt, "four 7").pieces] == [
        voice.tokenizer("four seven").input_ids
    ]


def test_a_tokenizer_from_elsewhere(run, refused, checkpoint, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("spm_char.model", "tokenizer_config.json"):
        shutil.move(checkpoint / name, elsewhere / name)
    assert refused("speak", "one", "--model", checkpoint).endswith("or name another with --tokenizer")
    assert run("speak", "one", "--model", checkpoint, "--tokenizer", elsewhere, "-o", "a.wav").exit_code == 0
    assert run("speak", "one", "-o", "b.wav").exit_code == 0
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_an_interrupt_that_a_library_lost_is_found_at_the_next_step(run, monkeypatch):
    """Whether it was cleared, or became another error."""
    from compiler.process import interruption

    real = checkpoints.load_voice

    def lost(*arguments):
        interruption.noted = True
        return real(*arguments)

    def changed(*arguments):
        interruption.noted = True
        raise RuntimeError("numpy could not be initialized")

    for loader in (lost, changed):
        monkeypatch.setattr(checkpoints, "load_voice", loader)
        monkeypatch.setattr(interruption, "noted", False)
        result = run("speak", "one")
        assert (result.exit_code, result.stdout, result.stderr) == (130, "", "interrupted\n")
        assert not list(Path().iterdir())
    monkeypatch.setattr(interruption, "noted", False)
