"""What the manifest of a saved SpeechT5 says, and the tokenizer in its folder: read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.errors import InvalidArgument
from compiler.folder import Folder, opened, part
from compiler.speecht5.pieces import Tables
from compiler.speecht5.speech_model import Reach, SpeechConstants
from compiler.speecht5.tokenizer import PieceTokenizer, StoredTokenizer, TokenizerNumbers

KIND = "speecht5"
TOKENIZER, SPEAKERS, VOCODER = "tokenizer", "speakers.safetensors", "vocoder"
PIECES = f"{TOKENIZER}/spm_char.model"


@dataclass(frozen=True, slots=True)
class SavedVoice:
    """What a voice was saved with. ``tokenizer`` is ``None`` for one that transformers has to read."""

    tokenizer: TokenizerNumbers | None
    normalize: bool
    words: tuple[str, ...]
    has_speakers: bool


@dataclass(frozen=True, slots=True)
class SavedSpeech:
    """What a saved SpeechT5 says of itself beside its graphs.

    ``text`` tokens and ``steps`` are the longest that it was saved for; ``max_piece_tokens`` what it was taught.
    """

    constants: SpeechConstants
    text: int
    steps: int
    max_piece_tokens: int | None
    voice: SavedVoice | None
    has_vocoder: bool
    postnet_halo: Reach | None


@dataclass(frozen=True, slots=True)
class Config:
    """What of a model's configuration speaking asks for, under transformers' names."""

    num_mel_bins: int
    reduction_factor: int
    vocab_size: int
    speaker_embedding_dim: int
    max_text_positions: int
    max_speech_positions: int
    max_piece_tokens: int | None
    sampling_rate: int | None = None
    model_type: str = "speecht5"

    @classmethod
    def of(cls, speech: SavedSpeech) -> Config:
        """The tables are as long as what was saved."""
        known = speech.constants
        return cls(
            known.mel_bins,
            known.reduction_factor,
            known.vocabulary,
            known.speaker_dim,
            speech.text,
            speech.steps,
            speech.max_piece_tokens,
        )


@dataclass(frozen=True, slots=True)
class Described:
    """A folder with a saved SpeechT5, every file in it checked."""

    folder: Folder
    speech: SavedSpeech

    @property
    def voice(self) -> SavedVoice:
        """Raises ``InvalidArgument`` where the model was saved without."""
        if self.speech.voice is None:
            raise InvalidArgument(
                f"the saved model {str(self.folder.path)!r} has no tokenizer, speakers and vocoder: save it with a "
                "voice (`python -m compiler compile --model CHECKPOINT -o FOLDER` does)"
            )
        return self.speech.voice

    @property
    def plan(self) -> dict[str, Any]:
        """The options that it was compiled with."""
        options = self.folder.about.get("options")
        return dict(options) if isinstance(options, dict) else {}

    def tables(self) -> Tables:
        """What bounds the pieces of a text."""
        frames = self.speech.steps * self.speech.constants.reduction_factor
        return Tables(self.speech.text, frames, self.speech.max_piece_tokens)

    def tokenizer(self, normalize: bool | None = None) -> Any:
        """The tokenizer; ``normalize`` as in ``checkpoint.load_tokenizer``."""
        voice = self.voice
        chosen = voice.normalize if normalize is None else normalize
        if voice.tokenizer is None:
            return StoredTokenizer(self.folder.path / TOKENIZER, chosen)
        return PieceTokenizer(self.folder.file(PIECES), voice.tokenizer, chosen)


def described(folder: str | Path | Folder) -> Described:
    """Check a folder with a saved SpeechT5. Raises ``InvalidArgument`` for any other, and for a damaged one."""
    found = folder if isinstance(folder, Folder) else opened(folder)
    if found.about.get("kind") != KIND:
        raise InvalidArgument(
            f"the saved model {str(found.path)!r} is of kind {found.about.get('kind')!r}, and {KIND!r} is expected"
        )
    return Described(found, part(found, "speech", SavedSpeech))
