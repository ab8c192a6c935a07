"""Which versions of the heavy dependencies this project supports, and the check that they are installed.

The graphs name these libraries' operations, and are captured from their source, so another version fails far from
its cause or, worse, computes something else. The package's lazy exports, and modules that can be imported by
themselves, call ``require`` before they import one of them.
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
"""The supported range of each checked package; pyproject.toml states the same ranges."""


class UnsupportedVersion(ImportError):
    """A package that this project needs is missing, or its version is outside the supported range."""


def require(package: str) -> None:
    """Check that a supported version of ``package``, one of ``SUPPORTED``, is installed, without importing it.

    ``UnsupportedVersion`` where it is missing or its version is outside the range.
    """
    supported = SUPPORTED[package]
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        raise _unsupported(package, f"{package} is not installed") from None
    try:
        # A release candidate is judged by its number: the default would refuse it even within the range.
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
