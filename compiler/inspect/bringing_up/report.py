"""Write what some steps came to into one folder: a report that begins with the summary, and their outputs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compiler.inspect.bringing_up.personal import Personal
from compiler.inspect.bringing_up.steps import Result, State
from compiler.output import write_whole

FORMAT = 1
"""Version of ``summary.json``. It grows with each change that a reader would have to follow."""
_LINES = 30
_TEXTS = (".json", ".md", ".html", ".txt")


def write(
    folder: Path,
    work: Path,
    title: str,
    about: Mapping[str, str],
    results: Sequence[Result],
    figures: Sequence[str],
    personal: Personal,
) -> None:
    """Write ``report.md``, ``summary.json`` and each step's output into ``folder``, without what is personal.

    ``about`` are versions and the device, ``figures`` lines for the summary. ``work`` has the files that the steps
    wrote. Each file is written whole or not at all, also where this is called again with more results.
    """
    made: dict[str, str] = {}
    for result in results:
        if result.ran.stdout:
            made[result.step.output] = result.ran.stdout
        if result.ran.stderr.strip():
            made[f"{result.step.name}.stderr.txt"] = result.ran.stderr
    for file in sorted(each for each in work.iterdir() if each.is_file()):
        if file.suffix in _TEXTS:
            made[file.name] = file.read_text(encoding="utf-8", errors="replace")
        else:
            write_whole(folder / file.name, file.read_bytes())
    for name, text in made.items():
        write_whole(folder / name, _cleaned(name, text, personal))
    write_whole(folder / "summary.json", _cleaned("summary.json", _json(title, about, results, figures), personal))
    report = _markdown(folder, title, about, results, figures)
    write_whole(folder / "report.md", _cleaned("report.md", report, personal))


def _cleaned(name: str, text: str, personal: Personal) -> bytes:
    """A text without what is personal; of JSON the values, as a key is a word of ours."""
    if name.endswith(".json"):
        try:
            found = json.loads(text)
        except ValueError:  # the step ended before it printed all of it
            pass
        else:
            return (json.dumps(_values(found, personal), indent=1) + "\n").encode()
    return personal.without(text).encode(errors="replace")


def _values(found: Any, personal: Personal) -> Any:
    if isinstance(found, str):
        return personal.without(found)
    if isinstance(found, list):
        return [_values(each, personal) for each in found]
    if isinstance(found, dict):
        return {key: _values(each, personal) for key, each in found.items()}
    return found


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
