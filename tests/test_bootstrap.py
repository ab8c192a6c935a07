"""The set-up files: scripts/bootstrap with pretended interpreters, the lock, and the supported versions."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BOOTSTRAP = ROOT / "scripts" / "bootstrap"


def executable(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def pretend_python(path: Path, version: str, *, can_make_environments: bool = True) -> Path:
    """An interpreter as far as --find-python asks: it tells its version and whether it has venv."""
    return executable(
        path,
        f"""case $2 in
        *version_info*) echo {version} ;;
        *ensurepip*) exit {0 if can_make_environments else 1} ;;
        *) exit 9 ;;
        esac""",
    )


def run(script: Path, *arguments: str, path: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script in an environment that holds nothing but what is given here."""
    environment = {"PATH": path, "HOME": str(home), "PYTHON_FOLDERS": "", **variables}
    return subprocess.run(
        [script, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=20
    )


class TestFindPython:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "on path"
        folder.mkdir()
        return folder

    def find(self, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        home = Path(variables.pop("HOME", "/nonexistent"))
        return run(BOOTSTRAP, "--find-python", path=str(folder), home=home, **variables)

    def test_takes_the_only_one_that_fits(self, folder: Path) -> None:
        pretend_python(folder / "python3", "3.11.7")
        fitting = pretend_python(folder / "python", "3.12.4")
        result = self.find(folder)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{fitting}\n", "")

    def test_skips_a_shim_that_only_prints_an_error(self, folder: Path) -> None:
        executable(folder / "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
        fitting = pretend_python(folder / "python3", "3.12.1")
        assert self.find(folder).stdout == f"{fitting}\n"

    def test_looks_behind_a_pyenv_shim(self, folder: Path, tmp_path: Path) -> None:
        executable(folder / "python3.12", "exit 127")
        executable(folder / "pyenv", f'echo "{tmp_path}/pyenv"')
        fitting = pretend_python(tmp_path / "pyenv/versions/3.12.1/bin/python3.12", "3.12.1")
        assert self.find(folder).stdout == f"{fitting}\n"

    def test_asks_uv(self, folder: Path, tmp_path: Path) -> None:
        fitting = pretend_python(tmp_path / "managed/python3.12", "3.12.9")
        executable(folder / "uv", f'[ "$1 $2" = "python find" ] && echo "{fitting}"')
        assert self.find(folder).stdout == f"{fitting}\n"

    def test_looks_in_uvs_folder_when_uv_is_not_on_path(self, folder: Path, tmp_path: Path) -> None:
        managed = tmp_path / ".local/share/uv/python/cpython-3.12.9-linux-x86_64-gnu/bin/python3.12"
        fitting = pretend_python(managed, "3.12.9")
        assert self.find(folder, HOME=str(tmp_path)).stdout == f"{fitting}\n"

    def test_looks_in_the_named_folders(self, folder: Path, tmp_path: Path) -> None:
        fitting = pretend_python(tmp_path / "elsewhere/python3.12", "3.12.3")
        assert self.find(folder, PYTHON_FOLDERS=f"/nonexistent:{tmp_path}/elsewhere").stdout == f"{fitting}\n"

    def test_the_variable_wins_over_path(self, folder: Path, tmp_path: Path) -> None:
        pretend_python(folder / "python3.12", "3.12.1")
        chosen = pretend_python(tmp_path / "my python", "3.12.2")
        assert self.find(folder, PYTHON=str(chosen)).stdout == f"{chosen}\n"

    def test_says_so_when_the_variable_does_not_fit(self, folder: Path, tmp_path: Path) -> None:
        fitting = pretend_python(folder / "python3.12", "3.12.1")
        chosen = pretend_python(tmp_path / "old", "3.9.2")
        result = self.find(folder, PYTHON=str(chosen))
        assert result.stdout == f"{fitting}\n"
        assert result.stderr == f"bootstrap: PYTHON={chosen} does not fit (Python 3.9.2), looking further\n"

    def test_passes_over_one_without_venv(self, folder: Path) -> None:
        pretend_python(folder / "python3.12", "3.12.3", can_make_environments=False)
        fitting = pretend_python(folder / "python3", "3.12.3")
        assert self.find(folder).stdout == f"{fitting}\n"

    def test_names_what_it_found_and_how_to_install_when_none_fits(self, folder: Path) -> None:
        executable(folder / "python3.12", "exit 127")
        pretend_python(folder / "python3", "3.11.7")
        pretend_python(folder / "python", "2.7.18")
        result = self.find(folder)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("bootstrap: no usable Python 3.12 was found")
        for line in (
            f"{folder}/python3.12: does not run",
            f"{folder}/python3: Python 3.11.7",
            f"{folder}/python: Python 2.7.18",
        ):
            assert f"    {line}\n" in result.stderr
        for word in ("Ubuntu", "Debian", "Fedora", "macOS", "pyenv install 3.12", "uv python install 3.12"):
            assert word in result.stderr

    def test_says_that_there_is_none_at_all(self, folder: Path) -> None:
        result = self.find(folder)
        assert result.returncode == 1
        assert "Found: no Python at all\n" in result.stderr

    def test_says_what_a_python_without_venv_lacks(self, folder: Path) -> None:
        pretend_python(folder / "python3.12", "3.12.3", can_make_environments=False)
        assert "Python 3.12.3, but without its venv or ensurepip module\n" in self.find(folder).stderr


# Plays the base interpreter and, copied into .venv, the environment's: it keeps a record of what it is asked.
RECORDING_PYTHON = """
case "$1 $2" in
"-c "*version_info\\[:3\\]*) echo 3.12.1 ;;
"-c "*version_info\\[:2\\]*) echo 3.12 ;;
"-c "*) ;;
"-m venv")
    echo venv >>"$RECORD"
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip")
    case "$*" in
    *--require-hashes*) echo lock >>"$RECORD" ;;
    *--editable*) echo project >>"$RECORD" ;;
    esac
    if [ -n "$PIP_FAILS" ]; then
        echo "ERROR: no space left" >&2
        exit 1
    fi
    echo "  Downloading torch-2.15.0-cp312-cp312-manylinux_2_28_x86_64.whl (539.2 MB)" ;;
esac
"""


class TestSetUp:
    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        checkout = tmp_path / "a checkout"
        (checkout / "scripts").mkdir(parents=True)
        shutil.copy(BOOTSTRAP, checkout / "scripts")
        (checkout / "requirements.lock").write_text("one==1\n")
        (checkout / "pyproject.toml").write_text("[project]\n")
        tools = tmp_path / "tools"
        executable(tools / "python3.12", RECORDING_PYTHON)
        executable(tools / "uname", '[ "$1" = -s ] && echo Linux || echo x86_64')
        executable(tools / "getconf", "echo glibc 2.36")
        return checkout

    def set_up(self, checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        tmp_path = checkout.parent
        return run(
            checkout / "scripts/bootstrap",
            path=f"{tmp_path / 'tools'}:/usr/bin:/bin",
            home=tmp_path,
            RECORD=str(tmp_path / "record"),
            **{"PIP_FAILS": "", **variables},
        )

    def record(self, checkout: Path) -> list[str]:
        """What was done since the last look."""
        path = checkout.parent / "record"
        done = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return done

    def test_first_run_installs_and_second_does_nothing(self, checkout: Path) -> None:
        first = self.set_up(checkout)
        assert (first.returncode, first.stderr) == (0, "")
        assert self.record(checkout) == ["venv", "lock", "project"]
        assert "torch's CUDA build" in first.stdout
        assert "downloading torch (539.2 MB)" in first.stdout

        second = self.set_up(checkout)
        assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
        assert self.record(checkout) == []

    def test_a_changed_lock_is_installed_into_the_same_environment(self, checkout: Path) -> None:
        self.set_up(checkout)
        (checkout / "requirements.lock").write_text("one==2\n")
        self.record(checkout)
        assert self.set_up(checkout).returncode == 0
        assert self.record(checkout) == ["lock", "project"]

    def test_a_changed_pyproject_reinstalls_the_project_alone(self, checkout: Path) -> None:
        self.set_up(checkout)
        (checkout / "pyproject.toml").write_text("[project]\nname = 'other'\n")
        self.record(checkout)
        assert self.set_up(checkout).returncode == 0
        assert self.record(checkout) == ["project"]

    def test_a_failed_install_is_explained_and_started_over(self, checkout: Path) -> None:
        failed = self.set_up(checkout, PIP_FAILS="yes")
        assert failed.returncode == 1
        assert "ERROR: no space left" in failed.stderr
        assert ".venv/bootstrap.log" in failed.stderr
        assert self.record(checkout) == ["venv", "lock"]

        again = self.set_up(checkout)
        assert again.returncode == 0
        assert "an earlier set-up was cut short: starting over" in again.stdout
        assert self.record(checkout) == ["venv", "lock", "project"]

    def test_an_environment_moved_with_its_checkout_is_made_again(self, checkout: Path) -> None:
        self.set_up(checkout)
        self.record(checkout)
        moved = checkout.rename(checkout.parent / "moved")
        assert "made in another place" in self.set_up(moved).stdout
        assert self.record(moved) == ["venv", "lock", "project"]

    def test_an_environment_made_by_hand_is_kept_even_when_the_install_fails(self, checkout: Path) -> None:
        executable(checkout / ".venv/bin/python", RECORDING_PYTHON)
        precious = checkout / ".venv/precious"
        precious.touch()
        assert self.set_up(checkout, PIP_FAILS="yes").returncode == 1
        assert self.set_up(checkout).returncode == 0
        assert precious.exists()
        assert self.record(checkout) == ["lock", "lock", "project"]

    def test_something_else_called_venv_is_left_alone(self, checkout: Path) -> None:
        pretend_python(checkout / ".venv/bin/python", "3.11")
        result = self.set_up(checkout)
        assert result.returncode == 1
        assert "Move it away or delete it" in result.stderr
        assert self.record(checkout) == []

    @pytest.mark.parametrize(
        ("tool", "body", "message"),
        [
            ("uname", '[ "$1" = -s ] && echo Darwin || echo arm64', "this machine is Darwin arm64"),
            ("uname", '[ "$1" = -s ] && echo Linux || echo aarch64', "this machine is Linux aarch64"),
            ("getconf", "echo glibc 2.31", "this system has glibc 2.31"),
            ("getconf", "exit 1", "does not use glibc"),
        ],
    )
    def test_a_platform_without_wheels_is_refused(self, checkout: Path, tool: str, body: str, message: str) -> None:
        executable(checkout.parent / "tools" / tool, body)
        result = self.set_up(checkout)
        assert result.returncode == 1
        assert message in result.stderr
        assert not (checkout / ".venv").exists()
