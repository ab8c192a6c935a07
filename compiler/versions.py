"""State the supported versions of the heavy dependencies, and check that they are installed.

The graphs name operations of these libraries and are traced from their source. So with another version the compiler
would fail far from the cause or, worse, compute something else. The package's lazy exports, and modules that can be
imported directly, call ``require`` before they import one of these libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from types import MappingProxyType
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

SUPPORTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "torch": ">=2.15,<2.16",
        "transformers": ">=5.23,<5.24",
        "ttnn": "==0.81.1",
    }
)
"""Supported range of each checked package; pyproject.toml states the same ranges."""


class UnsupportedVersion(ImportError):
    """A required package that is missing, or whose version is outside the supported range."""


def require(package: str) -> None:
    """Check that a supported version of ``package``, one of ``SUPPORTED``, is installed, without importing it.

    Raises ``UnsupportedVersion`` if it is missing or its version is outside the range.
    """
    found = _version(package)
    if found is None:
        raise _unsupported(package, f"{package} is not installed")
    if not _fits(package, found):
        raise _unsupported(package, f"{package} {found} is installed")


def installed() -> list[str]:
    """The version of each checked package that is installed, a line each, and whether it is a supported one."""
    lines = []
    for package, supported in SUPPORTED.items():
        version = _version(package)
        line = f"{package} {version or 'is not installed'}"
        lines.append(line if version and _fits(package, version) else f"{line} ({supported} is supported)")
    return lines


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _fits(package: str, version: str) -> bool:
    try:
        # Accept release candidates within the range, which SpecifierSet excludes by default.
        return SpecifierSet(SUPPORTED[package]).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _unsupported(package: str, found: str) -> UnsupportedVersion:
    requirement = f"{package}{SUPPORTED[package]}"
    return UnsupportedVersion(
        f"{found}, but this project supports only {requirement}. "
        f"In a checkout, run `make setup` and use .venv/bin/python; "
        f"in an environment of your own, run `python -m pip install '{requirement}'`.",
        name=package,
    )
