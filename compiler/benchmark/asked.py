"""Check what a benchmark is asked for, before torch is imported: groups, rounds, and a revision to compare with."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from compiler.arguments import whole
from compiler.choices import advice
from compiler.errors import InvalidArgument

NAMES = ("step", "speech", "sound", "compiling", "layers", "memory")
"""Groups of rows, in the order of the table."""
MOST_ROUNDS = 1000
"""Rounds of days: with more, a number was mistyped."""
CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that contains this package; comparing needs it to be a checkout with its history."""


def check(only: Sequence[str], rounds: int | None) -> None:
    """Raise ``InvalidArgument`` for unknown groups, and for less than one round or more than ``MOST_ROUNDS``."""
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise InvalidArgument(f"there is no group {unknown[0]!r}: {advice(unknown[0], NAMES)}")
    if rounds is not None:
        whole("rounds", rounds, 1, MOST_ROUNDS)


def check_revision(revision: str, checkout: Path = CHECKOUT) -> None:
    """Raise ``InvalidArgument`` unless ``revision`` is a commit of ``checkout``."""
    git(revision, checkout, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")


def git(revision: str, checkout: Path, *command: str) -> bytes:
    """Return what git prints. Raises ``InvalidArgument`` where it is not installed, or does not find ``revision``."""
    try:
        made = subprocess.run(["git", "-C", str(checkout), *command], capture_output=True, check=False)
    except FileNotFoundError:
        raise InvalidArgument(f"--against {revision}: git is needed to look it up, and is not installed") from None
    if made.returncode != 0:
        said = (made.stderr.decode(errors="replace").strip().splitlines() or [f"status {made.returncode}"])[-1]
        raise InvalidArgument(
            f"--against {revision}: git finds no such commit in {checkout} ({said}): name a commit, a branch or a tag "
            "of a checkout of this project"
        )
    return made.stdout
