"""What ``speak`` keeps of a checkpoint folder: the second time nothing is traced, and the sound is the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import compiler
from compiler.speecht5 import checkpoint, remembering, traces

SHORT, LONG = "four nine three", "one two three four five six seven eight"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(traces.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def loads(monkeypatch):
    """The folders that a model was loaded from, to be traced."""
    seen = []
    load = checkpoint.load_model
    monkeypatch.setattr(checkpoint, "load_model", lambda source: seen.append(source) or load(source))
    return seen


@pytest.fixture
def spoken(run, checkpoint, cache, sounding, monkeypatch):
    monkeypatch.setattr(compiler, "compile_speecht5", lambda model, **options: sounding)

    def speak(text=SHORT, *options):
        result = run("speak", text, "-o", "x.wav", "--model", checkpoint, *options)
        assert result.exit_code == 0, result.output
        return Path("x.wav").read_bytes()

    return speak


def test_the_second_time_nothing_is_loaded_until_a_graph_is_missing(spoken, loads, cache, sounding):
    sounding.evict()  # of what other tests asked for
    first = spoken()
    assert len(loads) == 1
    (entry,) = cache.iterdir()
    assert {file.name.split("-")[0] for file in entry.rglob("*.txt")} == {
        *("encoder", "utterance", "decoder_step", "postnet", "vocoder")
    }
    assert sum(file.stat().st_size for file in entry.rglob("*.*")) < 1_000_000, "weights stay in the checkpoint"
    assert spoken() == first and len(loads) == 1
    made = {*entry.rglob("*.txt")}
    assert len(spoken(LONG, "--longest", "60")) > len(first) and len(loads) == 2
    assert {*entry.rglob("*.txt")} > made, "and what was missing is kept"
    spoken(LONG, "--longest", "60")
    assert len(loads) == 2 and [*cache.iterdir()] == [entry]


@pytest.mark.parametrize("file", ["facts.json", "vocoder/rest.safetensors", "graphs/encoder-text32.txt"])
def test_a_damaged_entry_is_as_good_as_none(spoken, loads, cache, file):
    first = spoken()
    (found,) = cache.glob(f"*/{file}")
    whole = found.read_bytes()
    found.write_bytes(whole[: len(whole) * 2 // 3] + b"\x00" + whole[len(whole) * 2 // 3 + 1 :])
    assert spoken() == first and len(loads) == 2
    assert found.read_bytes() == whole, "and it is mended"


def test_another_checkpoint_plan_or_compiler_is_another_entry(spoken, loads, cache, checkpoint, monkeypatch):
    monkeypatch.setattr(remembering, "MOST_ENTRIES", 3)
    (cache / "someone's").mkdir(parents=True)
    spoken()
    spoken(SHORT, "--board", "p150")
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace('"max_piece_tokens": 40', '"max_piece_tokens": 41'))
    spoken()
    assert len(loads) == 3 and len([*cache.glob("*/facts.json")]) == 3
    oldest = min(cache.glob("*/facts.json"), key=lambda entry: entry.parent.stat().st_mtime)
    monkeypatch.setattr(traces, "_code", lambda: "another")
    spoken()
    assert len([*cache.glob("*/facts.json")]) == 3 and not oldest.exists(), "the one not used for longest goes"
    assert len(loads) == 4 and (cache / "someone's").is_dir()


@pytest.mark.parametrize(
    "options", [("--postnet", "exact"), ("--tokenizer", str(checkpoint.SMALL_VOICE)), ("--batch", "2")]
)
def test_nothing_is_kept_of_what_is_not_the_folders_own(spoken, cache, options):
    spoken(SHORT, *options)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_none(spoken, cache):
    cache.write_text("a file")
    spoken()


LEFT_OUT = (
    *("transformers", "torch._dynamo", "sympy", "networkx", "jinja2", "rich", "passes", "lowering"),
    *("compiler.frontend", "compiler.device", "compiler.pipeline"),
)
"""What the second run is quicker by. A saved model is spoken without the same."""


@pytest.mark.slow
def test_the_second_time_nothing_is_imported_that_traces(tmp_path):
    environment = {**os.environ, traces.VARIABLE: str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-X", "importtime", "-m", "compiler", "speak", SHORT, "-o", str(tmp_path / "x.wav")]
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True).stderr
        for _ in range(2)
    )
    heavy = re.compile(rf"\| +({'|'.join(map(re.escape, LEFT_OUT))})$", re.MULTILINE)
    assert {"transformers", "passes"} <= {*heavy.findall(first)}
    assert heavy.findall(second) == []
