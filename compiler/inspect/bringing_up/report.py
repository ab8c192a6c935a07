"""Write what some steps came to into one folder: a report that begins with the summary, and their outputs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compiler.inspect.bringing_up.personal import Personal
from compiler.inspect.bringing_up.steps import Result, State

FORMAT = 1
"""Version of ``summary.json``. It grows with each change that a reader would have to follow."""
_LINES = 30
_TEXTS = (".json", ".md", ".html", ".txt")


def write(
    folder: Path,
    title: str,
    about: Mapping[str, str],
    results: Sequence[Result],
    figures: Sequence[str],
    personal: Personal,
) -> None:
    """Write ``report.md``, ``summary.json`` and each step's output into ``folder``, without what is personal.

    ``about`` are versions and the device, ``figures`` lines for the summary. Text files that the steps wrote there are
    written anew without it, too.
    """
    for result in results:
        if result.ran.stdout:
            (folder / result.step.output).write_text(result.ran.stdout, encoding="utf-8")
        if result.ran.stderr.strip():
            (folder / f"{result.step.name}.stderr.txt").write_text(result.ran.stderr, encoding="utf-8")
    (folder / "report.md").write_text(_markdown(folder, title, about, results, figures), encoding="utf-8")
    (folder / "summary.json").write_text(_json(title, about, results, figures), encoding="utf-8")
    for file in sorted(folder.iterdir()):
        if file.suffix in _TEXTS:
            file.write_text(personal.without(file.read_text(encoding="utf-8", errors="replace")), encoding="utf-8")


def passed(results: Sequence[Result]) -> bool:
    """Return whether all steps passed."""
    return all(result.state is State.PASSED for result in results)


def _markdown(
    folder: Path, title: str, about: Mapping[str, str], results: Sequence[Result], figures: Sequence[str]
) -> str:
    good = sum(result.state is State.PASSED for result in results)
    lines = [f"# {title}", "", f"{good} of {len(results)} steps passed.", ""]
    lines += ["| step | what | came to | seconds | files |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        files = [name for name in (result.step.output, *result.step.files) if (folder / name).is_file()]
        came = result.state.value + (f": {_cell(result.why)}" if result.why else "")
        lines.append(
            f"| {result.step.name} | {result.step.about} | {came} | {result.seconds:.0f} | {', '.join(files)} |"
        )
    lines += ["", *(f"- {line}" for line in figures), "", "## What it ran on", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "## Commands", "", "```sh", *(shlex.join(result.step.command) for result in results), "```", ""]
    for result in results:
        if said := result.ran.stderr.strip():
            shown = said.splitlines()[-_LINES:]
            lines += [f"## The end of what {result.step.name} said on stderr", "", "```", *shown, "```", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _json(title: str, about: Mapping[str, str], results: Sequence[Result], figures: Sequence[str]) -> str:
    steps: list[dict[str, Any]] = [
        {
            "name": result.step.name,
            "command": list(result.step.command),
            "state": result.state.value,
            "why": result.why,
            "status": result.ran.status,
            "seconds": round(result.seconds, 3),
        }
        for result in results
    ]
    whole = {"format": FORMAT, "title": title, "passed": passed(results), "about": dict(about), "steps": steps}
    return json.dumps({**whole, "figures": list(figures)}, indent=1) + "\n"
