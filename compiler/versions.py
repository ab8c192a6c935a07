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
    supported = SUPPORTED[package]
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        raise _unsupported(package, f"{package} is not installed") from None
    try:
        # Accept release candidates within the range, which SpecifierSet excludes by default.
        fits = SpecifierSet(supported).contains(Version(found), prereleases=True)
    except InvalidVersion:
        fits = False
    if not fits:
        raise _unsupported(package, f"{package} {found} is installed")


def _unsupported(package: str, found: str) -> UnsupportedVersion:
    requirement = f"{package}{SUPPORTED[package]}"
    return UnsupportedVersion(
        f"{found}, but this project supports only {requirement}. "
        f"In a checkout, run `make setup` and use .venv/bin/python; "
        f"in an environment of your own, run `python -m pip install '{requirement}'`.",
        name=package,
    )
