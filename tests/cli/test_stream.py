"""``speak --stream``: sound that is written while it is spoken."""

from __future__ import annotations

import math
import re
import resource
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from compiler import CompilerError, InvalidArgument, SpeechTooLong
from compiler.speecht5 import sound, speaking
from compiler.speecht5.speaking_stream import in_order
from tests.models import relative_error

PIECES = "four nine three, hello world. good morning, seven. " * 3


@pytest.mark.parametrize("rows", [1, 2])
def test_chunks_joined_are_what_speak_says(voice: Any, compiled: Any, compiled_for_two: Any, rows: int) -> None:
    """Across pieces, their pauses included, one at a time or two."""
    short = compiled if rows == 1 else compiled_for_two
    begun: list[tuple[int, int]] = []
    text = "four nine three, hello world" if rows == 1 else PIECES
    speech = speaking.speak(voice, short, text, longest=60)
    with speaking.stream(voice, short, text, piece=lambda *at: begun.append(at), longest=60) as streamed:
        joined = torch.cat(list(streamed))
    assert joined.shape == speech.sound.shape
    assert relative_error(joined, speech.sound) <= 1e-5
    assert begun == ([(1, 1)] if rows == 1 else [(1, 3), (3, 3)])
    assert streamed.duration == speech.duration
    assert 0 < (streamed.first_seconds or 0) < streamed.seconds


def test_rows_are_heard_one_after_the_other() -> None:
    def rows(*texts: str) -> tuple[torch.Tensor, ...]:
        return tuple(torch.tensor([ord(c) for c in text]) for text in texts)

    chunks = [rows("a", "f", "l"), rows("b", "g", "m"), rows("", "h", ""), rows("", "i", ""), rows("", "", "")]
    heard: list[str] = []

    def watched() -> Any:
        for chunk in chunks:
            yield chunk
            heard.append("|")

    for row, chunk in in_order(watched()):
        heard.append(f"{row}" + "".join(map(chr, chunk.tolist())))
    assert " ".join(heard) == "0a | 0b | 1f 1g 1h | 1i | 2l 2m |"


def test_speech_that_is_stopped_stops(voice: Any, compiled: Any) -> None:
    told: list[int] = []
    with speaking.stream(voice, compiled, "four nine three", progress=lambda step, _: told.append(step)) as speech:
        assert math.isnan(speech.real_time_factor), "there is no sound yet"
        next(speech)
        steps = len(told)
    assert len(told) == steps
    with pytest.raises(StopIteration):
        next(speech)
    with pytest.raises(InvalidArgument, match="pause=-1: seconds from 0 to 60"):
        speaking.stream(voice, compiled, "four", pause=-1)
    with pytest.raises(InvalidArgument, match="read_every=0"):
        speaking.stream(voice, compiled, "four", read_every=0)


def test_a_wav_that_grows_is_whole_after_each_write(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_text("dear")
    parts = [torch.rand(n, generator=torch.Generator().manual_seed(n)) * 2.4 - 1.2 for n in (5, 1, 700)]
    with sound.GrowingWav(path, 8000) as wav:
        assert path.read_text() == "dear", "until there is sound"
        for count in range(1, 4):
            wav.write(parts[count - 1])
            so_far = torch.cat(parts[:count])
            assert path.read_bytes() == sound.encode_wav(so_far, 8000)
    assert [file.name for file in tmp_path.iterdir()] == ["x.wav"]
    assert sound.encode_pcm(parts[2]) == sound.encode_wav(parts[2], 8000)[44:]


def test_a_wav_on_a_full_disk_is_whole_up_to_there(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    path, limits = tmp_path / "x.wav", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(CompilerError, match=r"x\.wav' could not be written: File too large"):  # noqa: SIM117
            with sound.GrowingWav(path, 8000) as wav:
                wav.write(torch.zeros(1000))
                wav.write(torch.zeros(1000))
        with pytest.raises(CompilerError, match="File too large"), sound.GrowingWav(tmp_path / "y.wav", 8000) as wav:
            wav.write(torch.zeros(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (soundfile.info(path).frames, path.stat().st_size) == (1000, 2044)
    assert [file.name for file in tmp_path.iterdir()] == ["x.wav"]


def test_a_wav_whose_beginning_could_not_be_written_is_begun_again(tmp_path: Path) -> None:
    path, limits = tmp_path / "x.wav", resource.getrlimit(resource.RLIMIT_FSIZE)
    with sound.GrowingWav(path, 8000) as wav:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
        try:
            with pytest.raises(CompilerError, match="File too large"):
                wav.write(torch.zeros(2000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not list(tmp_path.iterdir())
        wav.write(torch.zeros(2000))
        wav.write(torch.ones(5))
        assert path.read_bytes() == sound.encode_wav(torch.cat([torch.zeros(2000), torch.ones(5)]), 8000)


def test_speak_streams_into_a_file_and_into_a_pipe(run: Any) -> None:
    told = run("speak", "four nine three", "-o", "whole.wav")
    streamed = run("speak", "four nine three", "-o", "grown.wav", "--stream")
    assert (streamed.exit_code, told.exit_code, streamed.stderr) == (0, 0, "")
    seconds = told.stdout.split()[0]
    assert re.match(
        rf"{seconds} s of sound, first sound after \d+\.\d\d s, real-time factor \d+\.\d\d \(compiled in ",
        streamed.stdout,
    )
    whole, rate = soundfile.read("whole.wav", dtype="int16")
    grown, same_rate = soundfile.read("grown.wav", dtype="int16")
    assert (rate, len(whole)) == (same_rate, len(grown))
    assert abs(whole.astype(int) - grown).max() <= 1
    piped = run("speak", "four nine three", "-o", "-", "--stream")
    assert piped.stdout_bytes == Path("grown.wav").read_bytes()[44:]
    assert "s of sound as raw 16-bit PCM, 16000 a second, one channel, first sound after" in piped.stderr
    assert sorted(file.name for file in Path().iterdir()) == ["grown.wav", "whole.wav"]


def test_what_was_said_stays_when_speaking_fails(run: Any, compiled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = type(compiled).stream_speech

    def failing(self: Any, *arguments: Any, **options: Any) -> Any:
        def chunks() -> Any:
            yield next(real(self, *arguments, **options))
            raise SpeechTooLong("too long")

        return chunks()

    Path("speech.wav").write_text("dear")
    monkeypatch.setattr(type(compiled), "stream_speech", failing)
    result = run("speak", "four nine", "--stream")
    assert (result.exit_code, result.stdout) == (1, "")
    kept = soundfile.info("speech.wav").duration
    assert result.stderr == f"'speech.wav' holds the first {kept:.2f} s of the speech\nerror: too long\n"
    assert soundfile.info("speech.wav").frames > 0

    def nothing(*_: Any, **__: Any) -> Any:
        raise SpeechTooLong("too long")

    Path("speech.wav").write_text("dear")
    monkeypatch.setattr(type(compiled), "stream_speech", nothing)
    assert run("speak", "four nine", "--stream").exit_code == 1
    assert Path("speech.wav").read_text() == "dear"


@pytest.mark.parametrize(("ends", "status"), [(KeyboardInterrupt(), 130), (CompilerError("the disk is full"), 1)])
def test_what_a_file_holds_of_a_speech_that_broke_off_is_said(
    ends: BaseException, status: int, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = sound.GrowingWav.write

    def write(self: sound.GrowingWav, chunk: torch.Tensor) -> None:
        if self.seconds:
            raise ends
        begun(self, chunk)

    monkeypatch.setattr(sound.GrowingWav, "write", write)
    made = run("speak", "four nine three", "--stream", "-o", "x.wav")
    assert made.exit_code == status
    kept = soundfile.info("x.wav").duration
    assert kept > 0 and f"'x.wav' holds the first {kept:.2f} s of the speech" in made.output
