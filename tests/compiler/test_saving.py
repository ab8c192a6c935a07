"""Saved models of any kind: graphs and weights come back as they were, and what is not theirs is refused by name."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler import folder as folders
from compiler.compiled import CompiledModel, GraphSpec, ModelSpec, Prefix, saving
from compiler.compiled.saving import load, save
from compiler.errors import InvalidArgument
from compiler.target.options import PlanOptions
from tests.compiler.test_compiled import SPEC, WIDTH, Counter

PLANS = {
    "float32": PlanOptions(),
    "bfloat16": PlanOptions(precision="bfloat16"),
    "bfloat8_b": PlanOptions(precision="bfloat16", weights="bfloat8_b", board="p150"),
}
GRAPHS = [("before", 1), ("count", 1), ("count", 40), ("count", 100)]


def counter() -> Counter:
    torch.manual_seed(0)
    model = Counter().eval().requires_grad_(False)
    model.out.bias.zero_()  # which fewer bits hold, too
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save(CompiledModel(counter(), SPEC, PLANS["float32"]), folder)
    return folder


def digits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("plan", PLANS)
def test_graphs_and_what_executors_get_come_back_bit_for_bit(tmp_path: Path, plan: str) -> None:
    made = CompiledModel(counter(), SPEC, PLANS[plan])
    save(made, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.options == made.options and loaded.spec.names == made.spec.names
    for name, steps in GRAPHS:
        ours, theirs = loaded.graph(name, steps=steps), made.graph(name, steps=steps)
        assert ours == theirs and str(ours) == str(theirs) and ours.board == theirs.board
        for one, other in zip(ours.graph.constants, theirs.graph.constants, strict=True):
            got, want = ours.weight(one), theirs.weight(other)
            assert (got.dtype, got.stride()) == (want.dtype, want.stride()) and digits(got) == digits(want)
    assert loaded.graph("count") is loaded.graph("count", steps=32)


def mapped(file: Path) -> list[range]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    ends = (line.split()[0].split("-") for line in lines if line.endswith(str(file)))
    return [range(int(begin, 16), int(end, 16)) for begin, end in ends]


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="asks Linux which memory is a file's")
def test_weights_are_mapped(saved: Path) -> None:
    step = load(saved).graph("count")
    for constant in step.graph.constants:
        at = step.weight(constant).data_ptr()
        assert constant.value.type.shape == () or any(at in place for place in mapped(saved / "weights.safetensors"))


def test_only_what_was_asked_for_is_saved_and_a_longer_length_is_refused(tmp_path: Path) -> None:
    save(CompiledModel(counter(), SPEC, PLANS["float32"]), tmp_path / "model", steps=40)
    loaded = load(tmp_path / "model")
    assert loaded.graph("count", steps=64).graph.nodes
    with pytest.raises(InvalidArgument, match=r"^steps=65: .* 1 to 64: .*compile and save it for more$"):
        loaded.graph("count", steps=65)
    assert [record.stage for record in loaded.stages("count").records] == ["final"]
    for refused in (loaded.for_board, lambda board: loaded.with_plan(board=board)):
        with pytest.raises(InvalidArgument, match=r"has one plan, for the n150 in float32: compile the checkpoint"):
            refused("p150")
    save(loaded, tmp_path / "again")
    files = sorted(path.relative_to(tmp_path / "model") for path in (tmp_path / "model").rglob("*.*"))
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "model" / file).read_bytes(), file


def test_a_folder_is_written_whole_or_not_at_all(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = CompiledModel(counter(), SPEC, PLANS["float32"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    here = shutil.copytree(saved, tmp_path / "model")
    before = folders.opened(here).sha256
    for folder, chosen, message in (
        ("other", {"overwrite": True}, "'.*other' is there and is no saved model: name another folder"),
        ("model", {}, "holds a saved model: name another folder, or replace it with overwrite=True"),
        ("no/model", {}, "there is no folder"),
        ("new", {"steps": 101}, "steps=101: the model was compiled for 1 to 100"),
        ("new", {"step": 1}, "there is no length 'step'"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            save(made, tmp_path / folder, **chosen)
    with monkeypatch.context() as broken:

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        broken.setattr(saving, "save_file", full)
        for folder in ("new", "model"):
            with pytest.raises(InvalidArgument, match=r"cannot be written: .*No space left on device"):
                save(made, tmp_path / folder, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other"]
    assert folders.opened(here).sha256 == before
    save(made, here, overwrite=True, steps=1)
    assert load(here).spec.lengths["steps"].buckets == (32,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "other"]


def test_a_graph_of_exact_length_is_not_saved(tmp_path: Path) -> None:
    exact = GraphSpec("count", "step", ("steps",), prefix=Prefix("seen", 2, "steps"))
    spec = ModelSpec((exact,), SPEC.components, SPEC.lengths)
    with pytest.raises(InvalidArgument, match="the graph count is compiled for the exact length of each run"):
        save(CompiledModel(counter(), spec, PLANS["float32"]), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def sealed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and give it the digest that belongs to it: what damage does not do, and malice does."""
    content = json.loads((folder / "saved_model.json").read_text())
    for name in content["files"]:
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            content["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change(content)
    del content["sha256"]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / "saved_model.json").write_text(json.dumps({"sha256": digest, **content}))


def text(folder: Path, old: str, new: str) -> None:
    file = folder / "graphs" / "count-steps32.txt"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    sealed(folder, lambda _: None)


def reshaped(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    save_file({name: tensor[..., :1].contiguous() for name, tensor in weights.items()}, folder / "weights.safetensors")
    sealed(folder, lambda _: None)


def cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-9])


def flipped(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)


def huge(folder: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 50], "data_offsets": [0, 1 << 52]}}).encode()
    (folder / "weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    sealed(folder, lambda _: None)


def listed(name: str) -> Callable[[Path], None]:
    """A manifest that lists a file that is there, and not inside."""

    def spoil(folder: Path) -> None:
        (folder.parent / "outside.txt").write_text("x")
        sealed(folder, lambda content: content["files"].update({name: {"bytes": 1, "sha256": "0" * 64}}))

    return spoil


def linked(folder: Path) -> None:
    (folder / "graphs" / "before.txt").rename(folder.parent / "outside.txt")
    (folder / "graphs" / "before.txt").symlink_to(folder.parent / "outside.txt")


def manifest(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    return lambda folder: sealed(folder, change)


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda f: (f / "saved_model.json").unlink(), "is no saved model: it has no saved_model.json"),
    "manifest cut off": (lambda f: cut(f, "saved_model.json"), "saved_model.json cannot be read as JSON"),
    "manifest is a list": (lambda f: (f / "saved_model.json").write_text("[]"), "holds no JSON object"),
    "manifest nested": (lambda f: (f / "saved_model.json").write_text("[" * 99999), "cannot be read as JSON"),
    "manifest changed": (
        lambda f: (f / "saved_model.json").write_text((f / "saved_model.json").read_text().replace("n150", "p150")),
        "the digest in saved_model.json does not match its content",
    ),
    "weights cut off": (lambda f: cut(f, "weights.safetensors"), "'weights.safetensors' has .* bytes, and"),
    "a bit of the weights": (lambda f: flipped(f, "weights.safetensors"), "'weights.safetensors' does not match its"),
    "a bit of a text": (lambda f: flipped(f, "graphs/before.txt"), "'graphs/before.txt' does not match its digest"),
    "a file missing": (lambda f: (f / "graphs/before.txt").unlink(), "'graphs/before.txt' is missing"),
    "a file too many": (lambda f: (f / "graphs/evil.py").touch(), "holds 'graphs/evil.py', not listed"),
    "a pickle": (lambda f: (f / "weights.pt").write_bytes(pickle.dumps(print)), "holds 'weights.pt', not listed"),
    "a link": (linked, "'before.txt' is a link, or no file"),
    "absolute path": (listed("/etc/hostname"), "lists '/etc/hostname', which is no name of a file inside"),
    "path to outside": (listed("../outside.txt"), "lists '../outside.txt', which is no name"),
    "path with dots inside": (listed("graphs/../graphs/before.txt"), "which is no name of a file inside"),
    "huge weights": (huge, "weights.safetensors cannot be read"),
    "claimed size": (manifest(lambda c: c["files"]["weights.safetensors"].update(bytes=1 << 60)), "bytes, and"),
    "weights of other shapes": (reshaped, r" in weights.safetensors is no f32\["),
    "text that is none": (lambda f: text(f, "nodes:", "knots:"), "count-steps32.txt is no graph of this version"),
    "an op that there is not": (lambda f: text(f, "ttnn.linear(", "ttnn.system("), "there is no op ttnn.system"),
    "an input of a terabyte": (lambda f: text(f, "u32[32]", "u32[99999999999]"), "a value larger than any"),
    "another format": (manifest(lambda c: c.update(format=99)), "has format 99, and this version reads format 1"),
    "another ttnn": (
        manifest(lambda c: c["versions"].update(ttnn="==0.80.0")),
        "was made for ttnn==0.80.0, and .* is for ttnn==0.81.1: compile the checkpoint and save it again",
    ),
    "no versions": (manifest(lambda c: c.update(versions=None)), "was made for torch of no version"),
    "a board that there is not": (manifest(lambda c: c["options"].update(board="n9000")), "board='n9000'"),
    "an option that there is not": (manifest(lambda c: c["options"].update(colour=1)), "colour is unknown"),
    "another kind": (manifest(lambda c: c.update(kind="cake")), "is of kind 'cake'"),
    "buckets out of order": (
        manifest(lambda c: c["spec"]["lengths"]["steps"].update(buckets=[64, 32])), "has no buckets in order"
    ),
    "a graph without a file": (
        manifest(lambda c: c["spec"]["graphs"][0].update(name="../../etc/passwd")), "is asked for and not listed"
    ),
    "text for a number": (manifest(lambda c: c["spec"]["lengths"]["steps"].update(longest="9")), "longest: a value"),
    "orders that are none": (manifest(lambda c: c.update(orders={"a": [True]})), "orders.a"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPOILED)
def test_what_is_damaged_or_meant_ill_is_named(saved: Path, tmp_path: Path, kind: str) -> None:
    spoil, message = SPOILED[kind]
    here = shutil.copytree(saved, tmp_path / "model")
    spoil(here)
    with pytest.raises(InvalidArgument, match=message):
        load(here).graph("count")


def test_copies_and_pickles_compute_the_same(saved: Path, tmp_path: Path) -> None:
    made, here = CompiledModel(counter(), SPEC, PLANS["float32"]), shutil.copytree(saved, tmp_path / "model")
    inputs = {"condition": torch.randn(1, 1, WIDTH)}
    want = made.graph("before").run(inputs)
    loaded = load(here)
    for model in (made, loaded):
        stored = pickle.dumps(model)
        for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(stored)):
            got = other.graph("before").run(inputs)
            assert got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in want)
            assert other.options == model.options
            other.close()
        assert model.graph("before").graph.nodes, "closing a copy closes no other"
    save(made, here, overwrite=True, steps=1)
    with pytest.raises(InvalidArgument, match="is not the one that was pickled: load it anew"):
        pickle.loads(stored)
