"""The lock file and the checked versions are those that the metadata of the project asks for."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from compiler import versions

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras: str) -> list[Requirement]:
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


class TestLock:
    def test_pins_a_fitting_version_of_every_requirement(self) -> None:
        pins = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", LOCK.read_text(), re.MULTILINE))
        for requirement in requirements("dev"):
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin is not None and requirement.specifier.contains(pin), f"run `make lock`: {requirement}"

    def test_says_nothing_of_where_packages_come_from(self) -> None:
        assert not re.search(r"://|^-|^ *[./]| @ ", re.sub(r"^ +--hash=", "", LOCK.read_text(), flags=re.M), re.M)

    def test_every_pin_has_a_hash(self) -> None:
        text = LOCK.read_text()
        assert len(re.findall(r"^\S+==", text, re.M)) == len(re.findall(r"^\S+==\S+ \\\n +--hash=sha256:", text, re.M))


class TestSupportedVersions:
    def test_are_those_of_pyproject(self) -> None:
        stated = {requirement.name: requirement.specifier for requirement in requirements()}
        for package, supported in versions.SUPPORTED.items():
            assert Requirement(package + supported).specifier == stated[package]

    def test_include_the_installed_ones(self) -> None:
        for package in versions.SUPPORTED:
            versions.require(package)

    @pytest.mark.parametrize("found", ["2.15.0", "2.15.0+cpu", "2.15.3", "2.15.1rc1"])
    def test_accepts(self, monkeypatch: pytest.MonkeyPatch, found: str) -> None:
        monkeypatch.setattr(metadata, "version", lambda package: found)
        versions.require("torch")

    @pytest.mark.parametrize("found", ["2.14.1", "2.15.0rc1", "2.16.0", "2.16.0a0", "not a version"])
    def test_refuses(self, monkeypatch: pytest.MonkeyPatch, found: str) -> None:
        monkeypatch.setattr(metadata, "version", lambda package: found)
        with pytest.raises(versions.UnsupportedVersion, match=re.escape(f"torch {found} is installed, but")) as caught:
            versions.require("torch")
        assert "torch>=2.15,<2.16" in str(caught.value)
        assert "make setup" in str(caught.value)
        assert caught.value.name == "torch"

    def test_says_when_a_package_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(package: str) -> str:
            raise metadata.PackageNotFoundError(package)

        monkeypatch.setattr(metadata, "version", missing)
        with pytest.raises(versions.UnsupportedVersion, match="ttnn is not installed, but"):
            versions.require("ttnn")
