"""What ``speak`` keeps of a checkpoint folder: the second time nothing is traced, and the sound is the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import compiler
from compiler.speecht5 import checkpoint, remembering, traces
from compiler.speecht5.options import CompileOptions

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize("spoil", [shutil.rmtree, lambda entry: (entry / "rest.safetensors").write_bytes(b"damaged")])
def test_an_entry_lost_while_it_is_read_is_traced_anew(spoken, loads, monkeypatch, spoil):
    first, find = spoken(), traces.find

    def spoilt(*arguments):
        entry = find(*arguments)
        spoil(entry.folder)
        return entry

    with monkeypatch.context() as another:
        another.setattr(traces, "find", spoilt)
        assert spoken() == first and len(loads) == 2
    assert spoken() == first and len(loads) == 2, "and it is kept again"


def test_an_entry_belongs_to_the_files_that_loading_reads(cache, checkpoint, tmp_path):
    linked = tmp_path / "elsewhere"
    (checkpoint / "vocoder").rename(linked)
    (checkpoint / "vocoder").symlink_to(linked)

    def key(name=None):
        """The entry's name, with a file changed or added."""
        file = checkpoint / (name or "config.json")
        before = file.read_bytes() if file.exists() else None
        if name is not None:
            file.write_bytes((before or b"") + b" ")
        found = traces.find(str(checkpoint), CompileOptions())
        file.unlink() if before is None else file.write_bytes(before)
        return None if found is None else found.folder.name

    read = (
        *("config.json", "model.safetensors", "speakers.safetensors", "words.txt", "spm_char.model"),
        *("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json"),
        *("vocoder/config.json", "vocoder/model.safetensors"),
    )
    first = key()
    keys = [key(name) for name in read]
    assert first is not None and None not in keys and len({first, *keys}) == len(read) + 1
    for name in ("speech.wav", "README.md", "training.json", "vocoder/speech.wav"):
        assert key(name) == first, name
    for name in ("adapter_config.json", "vocoder/adapter_config.json", "tokenizer.model"):
        assert key(name) is None, f"{name} has transformers read other files"
    config = checkpoint / "vocoder/config.json"
    config.write_text(config.read_text().replace("{", '{"transformers_weights": "other.safetensors",', 1))
    assert key() is None


def test_a_folder_of_a_user_that_there_is_not_is_taken_by_its_name(monkeypatch):
    monkeypatch.setenv(traces.VARIABLE, "~nosuch/x")
    assert traces.home() == Path("~nosuch/x")


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
def test_the_second_time_nothing_is_imported_that_traces(spoken, checkpoint):
    first = spoken()
    assert all(map(find_spec, LEFT_OUT)), "what is left out is there to be imported"
    command = [sys.executable, "-X", "importtime", "-m", "compiler", "speak", SHORT, "-o", "-", "--model", checkpoint]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    second = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=300, check=True)
    assert second.stdout == first, "from what this process kept"
    imported = {*re.findall(r"\| +(\S+)$", second.stderr.decode(), re.MULTILINE)}
    assert "torch" in imported and imported.isdisjoint(LEFT_OUT)
