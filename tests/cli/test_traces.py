"""What ``speak`` keeps of a checkpoint folder: the second time nothing is traced, and the sound is the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.speecht5 import checkpoint, traces

SHORT, LONG = "four nine three", "one two three four five six seven eight"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(traces.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def loads(monkeypatch):
    """The folders that a model was loaded from, to be traced."""
    seen = []
    load = checkpoint.load_model
    monkeypatch.setattr(checkpoint, "load_model", lambda source: seen.append(source) or load(source))
    return seen


@pytest.fixture
def spoken(run, checkpoint, cache, compiled):
    compiled.evict()

    def speak(text=SHORT, *options):
        result = run("speak", text, "-o", "x.wav", "--model", checkpoint, *options)
        assert result.exit_code == 0, result.output
        return Path("x.wav").read_bytes()

    return speak


def test_the_second_time_nothing_is_loaded_to_be_traced_until_a_graph_is_missing(spoken, loads, cache):
    first = spoken()
    assert len(loads) == 1
    (entry,) = cache.iterdir()
    assert {file.name.split("-")[0] for file in entry.glob("*.txt")} == {
        "encoder", "utterance", "decoder_step", "postnet"
    }  # fmt: skip
    assert sum(file.stat().st_size for file in entry.iterdir()) < 1_000_000, "weights stay in the checkpoint"
    assert spoken() == first and len(loads) == 1
    made = {file.name for file in entry.iterdir()}
    assert len(spoken(LONG, "--longest", 60)) > len(first) and len(loads) == 2
    assert {file.name for file in entry.iterdir()} > made, "and what was missing is kept"
    spoken(LONG, "--longest", 60)
    assert len(loads) == 2 and [*cache.iterdir()] == [entry]


@pytest.mark.parametrize("file", ["facts.json", "rest.safetensors", "encoder-text32-rows1.txt"])
def test_a_damaged_entry_is_as_good_as_none(spoken, loads, cache, file):
    first = spoken()
    (found,) = cache.rglob(file)
    data = bytearray(found.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    found.write_bytes(data)
    assert spoken() == first and len(loads) == 2


def test_another_checkpoint_plan_or_compiler_is_another_entry(spoken, loads, cache, checkpoint, monkeypatch):
    monkeypatch.setattr(traces, "MOST_ENTRIES", 3)
    spoken()
    spoken(SHORT, "--precision", "bfloat16")
    assert len([*cache.iterdir()]) == 2
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace('"max_piece_tokens": 40', '"max_piece_tokens": 41'))
    spoken()
    assert len([*cache.iterdir()]) == 3
    oldest = min(cache.iterdir(), key=lambda entry: entry.stat().st_mtime)
    monkeypatch.setattr(traces, "_code", lambda: "another")
    spoken()
    assert len([*cache.iterdir()]) == 3 and not oldest.exists(), "the one that was not used for longest goes"
    assert len(loads) == 4


@pytest.mark.parametrize("options", [("--postnet", "exact"), ("--tokenizer", str(checkpoint.SMALL_VOICE))])
def test_nothing_is_kept_of_what_is_not_the_folders_own(spoken, cache, options):
    spoken(SHORT, *options)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_none(spoken, cache):
    cache.write_text("a file")
    spoken()


@pytest.mark.slow
def test_the_second_time_transformers_is_not_imported(tmp_path):
    environment = {**os.environ, traces.CACHE: str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-X", "importtime", "-m", "compiler", "speak", SHORT, "-o", str(tmp_path / "x.wav")]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True).stderr
        for _ in range(2)
    )
    assert re.search(r"\| +transformers$", first, re.MULTILINE)
    assert not re.search(r"\| +(?:transformers|compiler\.frontend|torch\._dynamo)$", second, re.MULTILINE)
