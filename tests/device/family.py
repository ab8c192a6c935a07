"""Configurations of the family, drawn from a seed, and what ttnn's mock of each board says of their plans."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import SpeechT5Config, SpeechT5ForTextToSpeech

from compiler import CompiledSpeechT5, CompileOptions
from compiler.device.findings import GraphCheck, Plan
from compiler.device.session import Session
from compiler.errors import CompilerError
from compiler.pipeline import OPTIONAL
from compiler.speecht5.text_to_speech import GRAPHS
from compiler.target.options import WEIGHTS

ACTIVATIONS = ("gelu", "relu", "silu", "tanh", "gelu_new", "mish", "quick_gelu", "leaky_relu")


@dataclass(frozen=True, slots=True)
class Member:
    """A configuration, the options of its plan, and the lengths of a text and its speech."""

    seed: int
    config: Mapping[str, Any]
    options: Mapping[str, Any]
    text: int
    steps: int

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.config}, {self.options}, text {self.text}, steps {self.steps}"


def drawn(seed: int) -> Member:
    """The member of the family that a seed stands for."""
    take = random.Random(seed)

    def one(*of: Any) -> Any:
        return take.choice(of)

    head = one(8, 16, 24, 32, 32, 32, 40, 64, 64, 80, 96, 128, 160, 256)
    heads = take.randint(1, max(1, min(16, one(256, 640, 1024) // head)))
    hidden = head * heads
    divisors = [n for n in range(1, 13) if hidden % n == 0]
    config = {
        "vocab_size": take.randint(10, 200),
        "hidden_size": hidden,
        "encoder_layers": take.randint(1, 3),
        "decoder_layers": take.randint(1, 4),
        "encoder_attention_heads": one(heads, heads, take.choice(divisors)),
        "decoder_attention_heads": heads,
        "encoder_ffn_dim": one(take.randint(1, 40) * 8, take.randint(1, 128) * 32),
        "decoder_ffn_dim": one(take.randint(1, 40) * 8, take.randint(1, 128) * 32, take.randint(1, 300)),
        "hidden_act": one(*ACTIVATIONS),
        "num_mel_bins": one(20, 80, 80, 32, 63, take.randint(1, 100)),
        "reduction_factor": take.randint(1, 4),
        "speech_decoder_prenet_layers": take.randint(1, 4),
        "speech_decoder_prenet_units": one(32, 48, 256, take.randint(8, 300)),
        "speech_decoder_postnet_layers": take.randint(1, 6),
        "speech_decoder_postnet_units": one(40, 64, 256, take.randint(8, 300)),
        "speech_decoder_postnet_kernel": one(1, 3, 5, 5, 7, 9),
        "speaker_embedding_dim": one(12, 64, 512, take.randint(1, 600)),
        "encoder_max_relative_position": one(1, 5, 32, 160, take.randint(1, 200)),
        "max_text_positions": max(3, one(take.randint(2, 100), take.randint(2, 600))),
        "max_speech_positions": one(take.randint(2, 200), take.randint(2, 2000)),
    }
    options = {
        "batch_size": one(1, 1, 1, 2, 3, 4, 8),
        "weights": one(*WEIGHTS),
        "postnet": one("bucket", "exact"),
        "enable": tuple(name for name in sorted(OPTIONAL) if take.random() < 0.5),
    }
    longest = {what: config[f"max_{what}_positions"] for what in ("text", "speech")}
    text, steps = (one(1, size, size, take.randint(1, size)) for size in longest.values())
    return Member(seed, config, options, text, steps)


def plans(member: Member) -> Iterator[CompiledSpeechT5]:
    """The member compiled as planned by default, and under its own options; for the first board."""
    model = SpeechT5ForTextToSpeech(SpeechT5Config(**member.config)).eval()
    own = CompiledSpeechT5(model, CompileOptions(precision="bfloat16", **member.options), owned=True)
    yield own.with_plan(weights="bfloat16", enable=())
    if own.options.enable or own.options.weights != "bfloat16":
        yield own


def complaints(member: Member, sessions: Mapping[str, Session], graphs: Sequence[str] = GRAPHS) -> list[str]:
    """What each board says against each plan of a member, a line each."""
    found = []
    for compiled in plans(member):
        for board, session in sessions.items():
            planned = compiled.for_board(board)
            which = f"{board}, {planned.options.weights} {'+'.join(planned.options.enable)}"
            for name in graphs:
                try:
                    executable = planned.graph(name, text=member.text, steps=member.steps)
                    checked: GraphCheck = session.call("compiler.device.checks:check", Plan.of(executable, name))
                except CompilerError as error:
                    found.append(f"{which}, {name}: {error}")
                    continue
                found += [f"{which}, {name}: {c.node}, from {c.origin}: {c.reason}" for c in checked.complaints]
                if checked.compiled_again:
                    found.append(f"{which}, {name}: {checked.compiled_again} programs were compiled twice")
    return found
