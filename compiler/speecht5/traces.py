"""What tracing made of a checkpoint folder, kept between runs of ``speak``: graphs and plain numbers, no weights.

An entry belongs to the content of a folder, a plan, the versions of the libraries and the code of the compiler: where
one of them changes there is another entry. A model object has none, as anybody may have changed it. An entry that is
damaged in any way is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.errors import CompilerError, InvalidArgument
from compiler.records import record
from compiler.speecht5.speech_model import SpeechConstants
from compiler.speecht5.tokenizer import PieceTokenizer, TokenizerNumbers

if TYPE_CHECKING:
    from compiler.speecht5.options import CompileOptions
    from compiler.speecht5.text_to_speech import CompiledSpeechT5
    from compiler.speecht5.voice import Voice

CACHE = "SPEECHT5_TTNN_CACHE"
"""Environment variable that names the folder of entries; empty: nothing is kept."""
MOST_ENTRIES = 8
_PIECES, _MODEL, _FACTS, _REST = "spm_char.model", "model.safetensors", "facts.json", "rest.safetensors"
_PACKAGES = ("torch", "transformers", "safetensors", "sentencepiece")


@dataclass(frozen=True, slots=True)
class Facts:
    """What speaking takes besides graphs and weights. ``rest`` is the digest of the file of other parameters."""

    constants: SpeechConstants
    max_piece_tokens: int | None
    tokenizer: TokenizerNumbers
    normalize: bool
    rest: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of a checkpoint folder for one plan; ``facts`` are ``None`` where nothing is kept yet."""

    source: Path
    folder: Path
    facts: Facts | None


def home() -> Path | None:
    """The folder of entries: what ``SPEECHT5_TTNN_CACHE`` says, or one in the user's cache; ``None`` for no cache."""
    named = os.environ.get(CACHE)
    if named is not None:
        return Path(named) if named else None
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "speecht5-ttnn"


def find(source: str, options: CompileOptions) -> Entry | None:
    """The entry of a checkpoint folder under a plan; ``None`` for what is kept nowhere, such as a name on the hub."""
    at, folder = home(), Path(source)
    if (
        at is None
        or options.postnet == "exact"
        or not all((folder / name).is_file() for name in ("config.json", _MODEL, _PIECES))
    ):
        return None
    try:
        entry = at / _key(folder, options)
        return Entry(folder, entry, _facts(entry))
    except (OSError, metadata.PackageNotFoundError):
        return None


def _key(folder: Path, options: CompileOptions) -> str:
    plan = {name: value for name, value in asdict(options).items() if name != "batch_size"}
    files = {path.relative_to(folder).as_posix(): _sha256(path) for path in folder.rglob("*") if path.is_file()}
    versions = {name: metadata.version(name) for name in _PACKAGES}
    said = json.dumps([plan, files, versions, _code()], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _code() -> str:
    """The digest of the compiler's own code."""
    root = Path(__file__).parents[2]
    files = sorted(path for room in ("compiler", "lowering", "passes") for path in (root / room).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _facts(folder: Path) -> Facts | None:
    try:
        content = json.loads(_content(folder / _FACTS))
        facts = record(Facts, content, _FACTS)
        return facts if _sha256(folder / _REST) == facts.rest else None
    except (OSError, ValueError, InvalidArgument):
        return None


def _content(file: Path) -> str:
    """The text of a kept file, whose first line is its digest. Raises ``ValueError`` for any other."""
    digest, _, text = file.read_text(encoding="utf-8").partition("\n")
    if digest != hashlib.sha256(text.encode()).hexdigest():
        raise ValueError(f"{file.name} is damaged")
    return text


def _write(file: Path, text: str) -> None:
    """Write a file with its digest, whole or not at all."""
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    beside.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}", encoding="utf-8")
    beside.replace(file)


def tokenizer(entry: Entry, normalize: bool | None) -> PieceTokenizer:
    """The checkpoint's tokenizer; ``normalize`` as in ``checkpoint.load_tokenizer``."""
    assert entry.facts is not None
    chosen = entry.facts.normalize if normalize is None else normalize
    return PieceTokenizer(entry.source / _PIECES, entry.facts.tokenizer, chosen)


class Kept:
    """Graphs out of an entry, and where it has none, of the checkpoint; see ``compiler.compiled.source.Source``."""

    longer, saved = "", False

    def __init__(self, entry: Entry, options: CompileOptions) -> None:
        from safetensors.torch import load_file  # noqa: PLC0415

        from compiler.runtime.weights import Weights  # noqa: PLC0415

        self._entry, self._options = entry, options
        self.weights = Weights({**load_file(entry.source / _MODEL), **load_file(entry.folder / _REST)})

    @cached_property
    def traced(self) -> CompiledSpeechT5:
        """The checkpoint, loaded to be traced."""
        from compiler.speecht5 import checkpoint  # noqa: PLC0415, which takes seconds
        from compiler.speecht5.quiet import quiet  # noqa: PLC0415
        from compiler.speecht5.text_to_speech import CompiledSpeechT5  # noqa: PLC0415

        with quiet():
            return CompiledSpeechT5(checkpoint.load_model(str(self._entry.source)), self._options, owned=True)

    @property
    def model(self) -> Any:
        return self.traced.source.model

    def place(self) -> tuple[str, str]:
        return "", ""

    def make(self, spec: Any, sizes: Any, held: int, recorded: bool = False) -> Any:
        from compiler.runtime.executable import Executable  # noqa: PLC0415

        graph = None if recorded or held else self._read(_name(spec.name, sizes, self._options))
        if graph is not None:
            return Executable(graph, self.weights, self._options.board), None
        made, recorder = self.traced.source.make(spec, sizes, held, recorded)
        return Executable(made.graph, self.weights, self._options.board), recorder

    def _read(self, name: str) -> Any:
        from compiler.compiled.stored import parsed  # noqa: PLC0415
        from compiler.ir.literals import read_literals  # noqa: PLC0415

        file = self._entry.folder / name
        try:
            large = file.with_suffix(".safetensors")
            return parsed(_content(file), read_literals(large) if large.is_file() else {})
        except Exception:  # damage shows up as almost any type, and tracing mends it
            return None

    def planned(self, options: Any) -> Any:
        return self.traced.source.planned(options)

    def evict(self) -> None:
        if "traced" in self.__dict__:
            self.traced.evict()


def _name(graph: str, sizes: Any, options: CompileOptions) -> str:
    return "-".join([graph, *(f"{name}{size}" for name, size in sizes), f"rows{options.batch_size}"]) + ".txt"


def voice(entry: Entry, tokenizer: Any) -> Voice:
    """The checkpoint's voice without transformers. Raises ``InvalidArgument`` for files that cannot be read."""
    from types import SimpleNamespace  # noqa: PLC0415

    from compiler.speecht5 import checkpoint  # noqa: PLC0415
    from compiler.speecht5.hifigan import vocoder_in  # noqa: PLC0415
    from compiler.speecht5.voice import Voice  # noqa: PLC0415

    assert entry.facts is not None
    vocoder = vocoder_in(entry.source / "vocoder")
    speakers = checkpoint.speakers_in(str(entry.source))
    model = SimpleNamespace(config=_config(entry.facts))
    return Voice(model, tokenizer, speakers, vocoder, checkpoint.known_words(str(entry.source)))


def _config(facts: Facts) -> Any:
    from compiler.speecht5.saved_voice import Config  # noqa: PLC0415

    known = facts.constants
    return Config(
        known.mel_bins,
        known.reduction_factor,
        known.vocabulary,
        known.speaker_dim,
        known.text_positions,
        known.speech_positions,
        facts.max_piece_tokens,
    )


def compiled(entry: Entry, options: CompileOptions) -> CompiledSpeechT5:
    """The checkpoint compiled, with graphs out of the entry."""
    from compiler.speecht5.graphs import graph_specs  # noqa: PLC0415
    from compiler.speecht5.limits import Limits  # noqa: PLC0415
    from compiler.speecht5.text_to_speech import CompiledSpeechT5  # noqa: PLC0415

    assert entry.facts is not None
    config = _config(entry.facts)
    limits = Limits.of(config, options)
    made = CompiledSpeechT5.of(Kept(entry, options), graph_specs(config, options, limits), options)
    made.constants, made.config, made.limits = entry.facts.constants, config, limits
    made.checkpoint = str(entry.source)
    return made


def keep(entry: Entry, compiled: CompiledSpeechT5, voice: Voice) -> None:
    """Keep the graphs that a run made, and what speaking takes besides; nothing where that cannot be written."""
    try:
        entry.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if entry.facts is None:
            _keep_facts(entry, compiled, voice)
        for name, sizes, executable in compiled.made():
            file = entry.folder / _name(name, sizes, compiled.options)
            if not file.exists():
                _keep_graph(file, executable)
        _bound(entry.folder)
    except (OSError, CompilerError):
        return


def _keep_facts(entry: Entry, compiled: CompiledSpeechT5, voice: Voice) -> None:
    """Raises ``InvalidArgument`` for a checkpoint that needs transformers in any case."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415
    from torch import equal, float32  # noqa: PLC0415

    from compiler.speecht5.hifigan import same_sound, vocoder_in  # noqa: PLC0415
    from compiler.speecht5.saving import numbers_of  # noqa: PLC0415

    numbers = numbers_of(voice.tokenizer, entry.source / _PIECES)
    if numbers is None or not same_sound(vocoder_in(entry.source / "vocoder"), voice.vocoder):
        raise InvalidArgument("the voice needs transformers")
    there = load_file(entry.source / _MODEL)
    rest = {}
    for name, tensor in compiled.source.weights.parameters.items():
        stored = there.get(name)
        if stored is None or stored.dtype != float32 or not equal(stored, tensor):
            rest[name] = tensor.contiguous().clone()
    beside = entry.folder / f".{secrets.token_hex(4)}"
    save_file(rest, beside)
    beside.replace(entry.folder / _REST)
    taught = getattr(compiled.config, "max_piece_tokens", None)
    facts = Facts(compiled.constants, taught, numbers, bool(voice.tokenizer.normalize), _sha256(entry.folder / _REST))
    _write(entry.folder / _FACTS, json.dumps(asdict(facts)))


def _keep_graph(file: Path, executable: Any) -> None:
    from compiler.ir.literals import write_literals  # noqa: PLC0415
    from compiler.ir.text import literals, to_text  # noqa: PLC0415

    if literals(executable.graph):
        beside = file.with_name(f".{secrets.token_hex(4)}")
        write_literals(executable.graph, beside)
        beside.replace(file.with_suffix(".safetensors"))
    _write(file, to_text(executable.graph))


def _bound(folder: Path) -> None:
    """Note that this entry was used, and drop those that were not for longest."""
    os.utime(folder)
    entries = sorted((each for each in folder.parent.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime)
    for old in entries[:-MOST_ENTRIES]:
        shutil.rmtree(old, ignore_errors=True)
