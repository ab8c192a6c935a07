"""Text of any length: in pieces that fit, with pauses between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from compiler.errors import InvalidArgument
from compiler.speecht5 import speaking
from compiler.speecht5.checkpoint import tables
from compiler.speecht5.pieces import Piece, Tables, TooLong, pieces, split


def within(most: int) -> Any:
    return lambda part: len(part) <= most


SPLITS = {
    "whole": ("One. Two.", 20, ["One. Two."]),
    "sentences": ("One two. Three four! Five?", 14, ["One two. ", "Three four! ", "Five?"]),
    "sentences together": ("A b. C d. E f. G h.", 11, ["A b. C d. ", "E f. G h."]),
    "no sentence": ("Dr. Who paid 3.50 for it. Then he left.", 30, ["Dr. Who paid 3.50 for it. ", "Then he left."]),
    "clauses": ("One two, three four; five six. End.", 14, ["One two, ", "three four; ", "five six. ", "End."]),
    "words": ("one two three, four five six", 9, ["one two ", "three, ", "four ", "five six"]),
    "no end inside a word": ("one  !!b two", 8, ["one  ", "!!b two"]),
    "spaces": ("  one   two  ", 8, ["  one   ", "two  "]),
    "paragraphs": ("One two\n\nThree four", 12, ["One two\n\n", "Three four"]),
}


@pytest.mark.parametrize("case", SPLITS)
def test_a_text_is_split_where_it_hurts_least(case: str) -> None:
    text, most, wanted = SPLITS[case]
    assert split(text, within(most)) == wanted


@given(st.text(alphabet="ab ,.;!?\n", max_size=120), st.integers(1, 30))
def test_parts_joined_are_the_text_and_words_stay_whole(text: str, most: int) -> None:
    parts = split(text, within(most))
    words = text.split()
    if isinstance(parts, TooLong):
        assert text[parts.at :].startswith(parts.word)
        return
    assert "".join(parts) == text
    assert [word for part in parts for word in part.split()] == words
    assert all(len(part) <= most for part in parts)


def test_a_million_bytes_ask_a_tokenizer_little() -> None:
    asked = 0

    def fits(part: str) -> bool:
        nonlocal asked
        asked += 1
        return len(part) <= 500

    parts = split("one two three four " * 50_000, fits)
    assert isinstance(parts, list) and len(parts) < 2000
    assert asked < 20 * len(parts)


@pytest.mark.parametrize(
    ("tables", "ratio", "most"),
    [
        (Tables(600, 3752), 20.0, 600),
        (Tables(600, 600), 20.0, 100),
        (Tables(600, 600), 2.0, 300),
        (Tables(200, 1200, 40), 20.0, 40),
        (Tables(200, 1200, 400), 20.0, 200),
        (Tables(200, 1), 20.0, 1),
    ],
)
def test_a_piece_fits_the_tables_and_the_lessons(tables: Tables, ratio: float, most: int) -> None:
    assert tables.most(ratio) == most


PAGE = "four nine three, hello world. good morning? " * 12


def test_pieces_have_tokens_within_the_limit_and_lose_no_word(voice: Any) -> None:
    made = pieces(voice.tokenizer, PAGE, 200)
    assert len(made) == 3
    assert all(isinstance(piece, Piece) and len(piece.ids) <= 200 for piece in made)
    assert "".join(piece.text for piece in made) == PAGE
    assert all(len(piece.ids) <= most for most in range(20, 40) for piece in pieces(voice.tokenizer, PAGE, most))
    assert [piece.text.strip() for piece in pieces(voice.tokenizer, "one" + " " * 250 + "two", 5)] == ["one", "two"]
    with pytest.raises(InvalidArgument, match=r"the word 'hello' at line 2, column 5 has 7 tokens, and a piece"):
        pieces(voice.tokenizer, "one\nto  hello", 5)


def test_a_page_becomes_one_sound_with_pauses(voice: Any, compiled: Any) -> None:
    """The pieces of a page are what they are by themselves, one after the other under one generator."""
    begun = []
    short = {"maxlenratio": 1.0}
    speech = speaking.speak(voice, compiled, PAGE, pause=0.5, longest=200, piece=lambda *at: begun.append(at), **short)
    assert begun == [(1, 3), (2, 3), (3, 3)] and speech.pieces == 3
    generator = torch.Generator().manual_seed(0)
    alone = [
        compiled.generate_speech(
            ids[None], voice.speakers["angus"], generator=generator, vocoder=voice.vocoder, **short
        )
        for ids in speaking.prepare(voice, PAGE, most=200).pieces
    ]
    quietness = torch.zeros(8000)
    assert torch.equal(speech.sound, torch.cat([alone[0], quietness, alone[1], quietness, alone[2]]))
    assert speech.steps * 2 * 256 == sum(map(len, alone))


def test_pieces_are_spoken_side_by_side_where_the_batch_allows(voice: Any, compiled_for_two: Any) -> None:
    begun = []
    text = "four nine three, hello world. good morning, seven. " * 3
    speech = speaking.speak(
        voice, compiled_for_two, text, pause=0, longest=60, piece=lambda *at: begun.append(at), maxlenratio=1.0
    )
    assert begun == [(1, 3), (3, 3)] and speech.pieces == 3
    prepared = speaking.prepare(voice, text, most=60)
    (first, _) = speaking.batches(compiled_for_two, prepared, None)
    made, lengths = compiled_for_two.generate_speech(
        first.ids,
        prepared.speaker,
        first.mask,
        generator=torch.Generator().manual_seed(0),
        maxlenratio=1.0,
        return_output_lengths=True,
    )
    sound = torch.cat([voice.vocoder(row[:length]) for row, length in zip(made, lengths, strict=True)])
    assert torch.equal(speech.sound[: len(sound)], sound)


def test_speak_says_a_page(run: Any) -> None:
    result = run("speak", PAGE, "--max-len-ratio", 1, "--pause", 0.5, "--longest", 200)
    assert result.exit_code == 0, result.output
    assert " steps and 3 pieces, real-time factor " in result.stdout
    info = soundfile.info("speech.wav")
    steps = int(result.stdout.split(" steps")[0].split()[-1])
    assert info.frames == steps * 2 * 256 + 2 * 8000


def test_the_small_voice_is_asked_for_no_more_than_it_was_taught(voice: Any, compiled: Any) -> None:
    """It was taught up to six words at once, and loses its place in ten."""
    begun: list[tuple[int, int]] = []
    speech = speaking.speak(
        voice, compiled, "one two three four five six seven eight nine ten", piece=lambda *at: begun.append(at), pause=0
    )
    assert begun == [(1, 2), (2, 2)]
    assert 3 * 49 < 2 * speech.steps < 6 * 49, "three to six frames a token"


def test_limits_are_read_without_torch(checkpoint: Path) -> None:
    config = checkpoint / "config.json"
    assert tables(str(checkpoint)) == Tables(200, 1200, 40)
    config.write_text(config.read_text().replace('"max_piece_tokens": 40,', ""))
    assert tables(str(checkpoint)) == Tables(200, 1200)
    config.write_text(config.read_text().replace('"max_text_positions": 200,', ""))
    assert tables(str(checkpoint)) is None
