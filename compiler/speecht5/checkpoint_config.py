"""What the configuration of a checkpoint says, in a folder or on the hub: checked before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compiler.choices import advice
from compiler.errors import InvalidArgument, UnsupportedModel
from compiler.speecht5.reading import reading

MODEL = ("speecht5", "SpeechT5ForTextToSpeech")
VOCODER = ("hifigan", "SpeechT5HifiGan")
"""Model type and architecture that ``config.json`` names."""


def check_kind(source: str, model_type: str, architecture: str) -> None:
    """Raise ``UnsupportedModel`` unless ``config.json`` says ``architecture``, or nothing that speaks against it."""
    said = description(source)
    architectures = said.get("architectures") or [architecture]
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise InvalidArgument(f"config.json of {source!r}: architectures={architectures!r} is no list of names")
    named = said.get("model_type")
    # The published vocoder says "hifigan", and what transformers saves today "speecht5_hifigan".
    if named not in (None, model_type, f"speecht5_{model_type}") or architecture not in architectures:
        raise UnsupportedModel(
            f"{source!r} holds {', '.join(architectures)} of model type {named!r}, and not a {architecture}"
        )


def description(source: str) -> dict[str, Any]:
    """``config.json`` of a folder or of a name on the hub."""
    check_name(source)
    folder = Path(source)
    if not folder.exists():
        return _description_on_hub(source)
    file = folder / "config.json"
    if not file.is_file():
        raise InvalidArgument(f"{source!r} is no checkpoint folder: it has no config.json")
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InvalidArgument(f"{str(file)!r} cannot be read as JSON: {error}") from error
    if not isinstance(said, dict):
        raise InvalidArgument(f"{str(file)!r} holds no JSON object, but a {type(said).__name__}")
    return said


def named(source: str | Path) -> str:
    """The folder or name of a checkpoint as a text. Raises ``InvalidArgument`` for what is neither."""
    if not isinstance(source, str | Path):
        raise InvalidArgument(
            f"a checkpoint is named by its folder or by OWNER/NAME on the hub, and not by a {type(source).__name__}"
        )
    return str(source)


def check_name(source: str) -> None:
    """Raise ``InvalidArgument`` for what is neither there nor can be a name on the hub."""
    if not source:
        raise InvalidArgument("the name of a checkpoint is empty: name a folder, or OWNER/NAME on the hub")
    # Asking the hub takes half a minute where there is no network: only for what can be a name there.
    on_hub = source.count("/") == 1 and not source.startswith((".", "/", "~")) and not source.endswith("/")
    if not on_hub and not Path(source).exists():
        raise InvalidArgument(f"there is no checkpoint folder {source!r} (a name on the hub would be OWNER/NAME)")


def found(source: str, model_type: str, architecture: str) -> dict[str, Any]:
    """What ``config.json`` of a checkpoint in a folder says, checked; nothing of a name on the hub.

    It imports nothing heavy. Raises what :func:`check_kind` and :func:`check_name` raise.
    """
    check_name(source)
    if not Path(source).exists():
        return {}
    check_kind(source, model_type, architecture)
    return description(source)


def _description_on_hub(source: str) -> dict[str, Any]:
    from transformers import SpeechT5Config  # noqa: PLC0415

    with reading("config.json", source):
        said: dict[str, Any] = SpeechT5Config.get_config_dict(source)[0]
    return said


def check_activation(config: Any, source: str) -> None:
    """Raise ``InvalidArgument`` for an activation that transformers does not have."""
    from transformers.activations import ACT2FN  # noqa: PLC0415

    chosen = getattr(config, "hidden_act", None)
    if isinstance(chosen, str) and chosen not in ACT2FN:
        raise InvalidArgument(
            f"config.json of {source!r} has hidden_act={chosen!r}, and transformers has no such activation: "
            f"{advice(chosen, sorted(ACT2FN))}"
        )
