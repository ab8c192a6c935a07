"""Documents that are generated are up to date, and what the README shows runs as printed."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from compiler.cli.app import app
from compiler.inspect import numerics

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_page_of_ops_is_up_to_date() -> None:
    assert (ROOT / "docs" / "ops.md").read_text() == numerics.to_markdown(), (
        "make it anew: python -m compiler ops --markdown > docs/ops.md"
    )


def test_what_was_measured_stands_in_the_page_of_numerics(request: pytest.FixtureRequest) -> None:
    page = ROOT / "docs" / "numerics.md"
    before, _, rest = page.read_text().partition(numerics.BEGIN)
    _, found, after = rest.partition(f"{numerics.END}\n")
    assert found, f"the page lacks the lines {numerics.BEGIN} and {numerics.END}"
    if request.config.getoption("--update-golden"):
        page.write_text(before + numerics.measured_markdown() + after)
    assert numerics.measured_markdown() in page.read_text(), (
        "make it anew: python -m compiler ops --measured --markdown, between the same lines of docs/numerics.md"
    )


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


@pytest.mark.slow
@pytest.mark.parametrize("snippet", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_readmes_python_runs_as_printed(snippet: str) -> None:
    exec(snippet, {"__name__": "__main__"})


BLOCKS = {
    f"{page.name}, block {i}": block
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), 1)
}


def imports(block: str) -> str:
    """The statements of a block that import. What is no Python by itself, as a line of a dictionary, has none."""
    try:
        statements = ast.parse(block).body
    except SyntaxError:
        return "\n".join(re.findall(r"^(?:from|import) .*", block, re.MULTILINE))
    return "\n".join(ast.unparse(each) for each in statements if isinstance(each, ast.Import | ast.ImportFrom))


@pytest.mark.parametrize("where", [where for where, block in BLOCKS.items() if imports(block)])
def test_what_a_page_imports_is_there(where: str) -> None:
    for line in imports(BLOCKS[where]).splitlines():
        package = line.split()[1].partition(".")[0]
        if package == "datasets" and find_spec(package) is None:
            continue  # which the page of published checkpoints says to install first
        exec(line, {})


SESSION = re.compile(r"(?<=```console\n)(.*?)(?=```)", re.DOTALL)
"""Commands with what they print, as a terminal shows them."""


def replayed(session: str) -> str:
    """A session with each command run again. What runs tests is left as it is: it has its own place in the suite."""
    shown = []
    for command in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        line, said = command.split("\n", 1)
        if "pytest" not in session:
            said = printed(line)
        shown.append(f"$ {line}\n{said}")
    return "".join(shown)


COMMAND = ".venv/bin/python -m compiler "


def printed(line: str) -> str:
    """What a command prints. The compiler's part of it runs in this process, which has imported torch already."""
    said = failed = ""
    if line.startswith(COMMAND):
        ours, _, line = line.removeprefix(COMMAND).partition(" | ")
        made = CliRunner().invoke(app, shlex.split(ours))
        said, failed = made.stdout, made.stderr
    run = subprocess.run(
        ["bash", "-c", line or "cat"], cwd=ROOT, input=said, capture_output=True, text=True, check=False
    )
    return run.stdout or run.stderr or failed


@pytest.mark.slow
@pytest.mark.parametrize("page", ["architecture.md"])
def test_what_a_page_shows_of_a_terminal_is_what_a_terminal_shows(page: str, request: pytest.FixtureRequest) -> None:
    path = ROOT / "docs" / page
    text = path.read_text()
    again = SESSION.sub(lambda found: replayed(found.group(1)), text)
    if request.config.getoption("--update-golden"):
        path.write_text(again)
    else:
        assert again.splitlines() == text.splitlines()
