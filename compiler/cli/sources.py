"""Where `speak` has its voice from: a saved model, what an earlier run traced of a checkpoint, or the checkpoint."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compiler.cli.options import remembered_model, saved_model
from compiler.folder import is_saved
from compiler.speecht5 import checkpoint_config, pieces, traces
from compiler.speecht5 import text as texts
from compiler.speecht5.options import CompileOptions
from compiler.speecht5.quiet import quiet
from compiler.speecht5.saved_voice import Described, described

if TYPE_CHECKING:
    from compiler.speecht5.text_to_speech import CompiledSpeechT5
    from compiler.speecht5.voice import Voice


@dataclass(frozen=True, slots=True)
class Text:
    """A text as a voice takes it: its tokenizer, the ``most`` tokens of a piece, ``None`` where nobody knows.

    ``pieces`` is how many there are; ``warnings`` are lines on what the voice may not say as written.
    """

    tokenizer: Any
    most: int | None
    pieces: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a voice comes from.

    ``checkpoint`` is a folder or a name on the hub; ``vocoder`` and ``tokenizer`` name others than its own, and
    ``normalize`` is another choice than its tokenizer's. ``saved`` is what a saved model says of itself. ``entry`` is
    where the trace of a checkpoint is kept, ``None`` where it is not.
    """

    checkpoint: str
    vocoder: str | None
    tokenizer: str | None
    normalize: bool | None
    saved: Described | None
    entry: traces.Entry | None = None

    @classmethod
    def found(cls, name: str, vocoder: str | None, tokenizer: str | None, normalize: bool | None) -> Source:
        """Look at what ``name`` is. Raises what ``saved_voice.described`` raises for a damaged saved model."""
        saved = described(name) if is_saved(name) else None
        if vocoder is not None:
            checkpoint_config.found(vocoder, *checkpoint_config.VOCODER)
        return cls(name, vocoder, tokenizer, normalize, saved)

    def traced(self, options: CompileOptions) -> Source:
        """The source with what an earlier run kept of it under ``options``: of a checkpoint that is all its own."""
        own = self.saved is None and self.tokenizer is None and self.vocoder is None
        return replace(self, entry=traces.find(self.checkpoint, options) if own else None)

    @property
    def known(self) -> traces.Entry | None:
        """What an earlier run kept, where one did."""
        return self.entry if self.entry is not None and self.entry.facts is not None else None

    def forgotten(self) -> Source:
        """The source without what an earlier run kept: it is to be traced again."""
        return self if self.entry is None else replace(self, entry=replace(self.entry, facts=None))

    def hushed(self) -> AbstractContextManager[None]:
        """Keep libraries that talk quiet; a saved model asks for them only where its tokenizer does."""
        own = self.saved is not None and self.tokenizer is None and self.vocoder is None
        return nullcontext() if own or self.known is not None else quiet()

    def load_tokenizer(self) -> Any:
        """Load the tokenizer. Raises what ``checkpoint.load_tokenizer`` raises."""
        from compiler.speecht5 import checkpoint  # noqa: PLC0415

        found = self.known or self.saved
        if found is not None and self.tokenizer is None:
            return found.tokenizer(self.normalize)
        return checkpoint.load_tokenizer(self.checkpoint if self.tokenizer is None else self.tokenizer, self.normalize)

    def read(self, text: str, max_len_ratio: float, longest: int | None) -> Text:
        """Split a text as it will be spoken, long before torch is imported.

        ``longest`` is what was asked for as the most tokens of a piece. Raises what ``pieces.pieces`` raises.
        """
        from compiler.speecht5 import checkpoint  # noqa: PLC0415

        tables = self.saved.tables() if self.saved else checkpoint.tables(self.checkpoint)
        most = longest
        if tables is not None:
            most = (tables if longest is None else replace(tables, taught=longest)).most(max_len_ratio)
        chosen = self.load_tokenizer()
        parts = len(pieces.pieces(chosen, text, most))
        words = self.saved.voice.words if self.saved else checkpoint.known_words(self.checkpoint)
        return Text(chosen, most, parts, tuple(texts.warnings(chosen, text, words)))

    def compiled(self) -> CompiledSpeechT5 | None:
        """Load what was compiled or traced before; ``None`` for a checkpoint, and where an entry is lost by now."""
        if self.saved is not None:
            return saved_model(self.saved, self.vocoder)
        return None if self.known is None else remembered_model(self.known)

    def voice(self, tokenizer: Any, compiled: CompiledSpeechT5 | None) -> Voice:
        """The voice of what :meth:`compiled` gave, with the vocoder that was compiled last, or of the checkpoint."""
        from compiler.speecht5 import checkpoint  # noqa: PLC0415

        if compiled is None:
            return checkpoint.load_voice(self.checkpoint, self.vocoder, tokenizer)
        assert compiled.voice is not None, "asked for with the tokenizer"
        return replace(compiled.voice, tokenizer=tokenizer, vocoder=compiled.vocoder)
