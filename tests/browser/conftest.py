"""A headless browser for tests, which looks at pages as a person would. Where there is none, its tests are skipped.

In CI (``CI`` is set) a test that cannot be made ready fails: ``.ci/run`` installs what it needs.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

EXECUTABLES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ROOT = Path(__file__).parents[2]


def not_ready(why: str) -> NoReturn:
    """Skip the test for this reason; fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{why} (in CI this is a failure: see .ci/run)", pytrace=False)
    pytest.skip(why)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The browser, one for all tests of a run."""
    found = next(filter(None, map(shutil.which, EXECUTABLES)), None)
    if found is None:
        not_ready(
            f"there is no browser: install {EXECUTABLES[0]} or {EXECUTABLES[1]}, as scripts/browser does on Debian"
        )
    from playwright.sync_api import sync_playwright

    # Root has no sandbox; and there is no graphics card, so WebGL is computed.
    arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """``visit(address)`` opens a page, and the test fails if the page told the console of an error."""
    errors: list[str] = []
    contexts = []

    def open_page(address: str, ready: str = "body", lax: str = "", patience: int = 10_000, **options: Any) -> Any:
        """``ready`` is what to wait for, ``patience`` milliseconds; errors that match ``lax`` are none."""
        context = browser.new_context(viewport={"width": 1400, "height": 1000}, **options)
        contexts.append(context)
        page = context.new_page()

        def note(text: str, where: str) -> None:
            if not lax or not re.search(lax, text + where):
                errors.append(f"{text} {where}")

        page.on("pageerror", lambda error: note(str(error), ""))
        page.on("console", lambda said: note(said.text, str(said.location)) if said.type == "error" else None)
        page.goto(address)
        page.wait_for_selector(ready, timeout=patience)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
