"""What tracing made of a checkpoint folder, as ``speak`` keeps it: found without torch.

An entry belongs to the files that loading a checkpoint folder reads, the options of a plan, the versions of the
libraries and the code of the compiler: where any of them changes there is another entry. It holds graphs and plain
numbers; weights stay in the checkpoint. A model object has no entry, as anybody may have changed it. An entry that is
damaged in any way is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.errors import CompilerError, InvalidArgument
from compiler.output import read_checked
from compiler.records import record
from compiler.speecht5.saved_voice import SavedSpeech, SavedVoice
from compiler.speecht5.tokenizer import PieceTokenizer

if TYPE_CHECKING:
    from compiler.speecht5.options import CompileOptions

VARIABLE = "SPEECHT5_TTNN_TRACES"
"""Environment variable that names the folder of entries; empty: nothing is kept."""
MODEL, PIECES, VOCODER = "model.safetensors", "spm_char.model", "vocoder"
"""What a checkpoint folder needs to have for an entry."""
READ = (
    *("config.json", MODEL, f"{VOCODER}/config.json", f"{VOCODER}/{MODEL}"),
    *(PIECES, "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json"),
    *("speakers.safetensors", "words.txt"),
)
"""The files that loading reads, of those that decide what is said; templates for chats do not.

Weights in shards or as ``pytorch_model.bin`` are read only where ``model.safetensors`` is missing: then there is no
entry.
"""
_INSTEAD = ("adapter_config.json", f"{VOCODER}/adapter_config.json", "tekken.json", "tokenizer.model", "tiktoken.model")
"""Files that have transformers read others than ``READ`` where they lie in the folder."""
_NAMING = {
    "config.json": ("configuration_files", "transformers_weights"),
    f"{VOCODER}/config.json": ("configuration_files", "transformers_weights"),
    "tokenizer_config.json": ("fast_tokenizer_files",),
}
"""Keys of files that name other files to read."""
FACTS, REST = "facts.json", "rest.safetensors"
_PACKAGES = ("torch", "transformers", "safetensors", "sentencepiece")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept of the checkpoint folder ``source`` for one plan; ``facts`` is ``None`` where nothing is yet."""

    source: Path
    folder: Path
    options: CompileOptions
    facts: Mapping[str, Any] | None = None

    @property
    def speech(self) -> SavedSpeech:
        """What the model says of itself beside its graphs."""
        return record(SavedSpeech, (self.facts or {}).get("speech"), "speech")

    @property
    def voice(self) -> SavedVoice:
        found = self.speech.voice
        assert found is not None, "no entry is kept without"
        return found

    def tokenizer(self, normalize: bool | None = None) -> PieceTokenizer:
        """The checkpoint's tokenizer; ``normalize`` as in ``checkpoint.load_tokenizer``."""
        voice = self.voice
        assert voice.tokenizer is not None, "no entry is kept without"
        return PieceTokenizer(
            self.source / PIECES, voice.tokenizer, voice.normalize if normalize is None else normalize
        )


def home() -> Path | None:
    """The folder of entries: what ``SPEECHT5_TTNN_TRACES`` names, else one in the cache folder; ``None`` for none."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        # Path.expanduser raises for a user that there is not, and this leaves the name as it is.
        return Path(os.path.expanduser(named)) if named else None
    from compiler.device.mock import cache_folder  # noqa: PLC0415

    return cache_folder() / "traces"


def find(source: str, options: CompileOptions) -> Entry | None:
    """The entry of a checkpoint folder under a plan; ``None`` for what is kept nowhere, such as a name on the hub."""
    folder = Path(source)
    if options.postnet == "exact" or not all((folder / name).is_file() for name in ("config.json", MODEL, PIECES)):
        return None
    try:
        at = home()
        if at is None or _reads_others(folder):
            return None
        entry = Entry(folder, at / _key(folder, options), options)
        return Entry(folder, entry.folder, options, _facts(entry.folder))
    except (OSError, CompilerError, metadata.PackageNotFoundError):
        return None


def _key(folder: Path, options: CompileOptions) -> str:
    files = {name: digest_of(folder / name) if (folder / name).is_file() else None for name in READ}
    versions = {name: metadata.version(name) for name in _PACKAGES}
    said = json.dumps([asdict(options), files, versions, _code()], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _reads_others(folder: Path) -> bool:
    """Whether transformers would read files of the folder that the key does not know."""
    if any((folder / name).exists() for name in _INSTEAD):
        return True
    said = {name: (folder / name).read_bytes() for name in _NAMING if (folder / name).is_file()}
    return any(f'"{key}"'.encode() in text for name, text in said.items() for key in _NAMING[name])


def _code() -> str:
    """The digest of the compiler's own code."""
    root = Path(__file__).parents[2]
    files = sorted(path for room in ("compiler", "lowering", "passes") for path in (root / room).rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _facts(folder: Path) -> Mapping[str, Any] | None:
    """What an entry says; ``None`` unless it is whole."""
    try:
        text = read_checked(folder / FACTS)
        facts: dict[str, Any] = json.loads(text)
        record(SavedSpeech, facts["speech"], "speech")
        whole = all(digest_of(folder / name) == digest for name, digest in facts["rests"].items())
    except (OSError, ValueError, KeyError, InvalidArgument):
        return None
    return facts if whole else None
