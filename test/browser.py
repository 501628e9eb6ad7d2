"""An installed Chromium or Chrome for tests of HTML pages, through Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium asks servers of its own at every start, which is no request of the page.
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


@contextmanager
def browser() -> Iterator[Any]:
    """A headless browser; skips the test if there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        pytest.skip("needs Chromium or Chrome: apt install chromium")
    options = [*_QUIET, "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=options)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def page(opened: Any, file: Path, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page of a file, and everything that should not be: errors, messages on the console, requests for other files.

    Args:
        opened: The browser.
        file: The HTML file.
        **options: Options of a page in Playwright, such as viewport and color_scheme.
    """
    shown = opened.new_page(**options)
    faults: list[str] = []
    address = file.resolve().as_uri()
    shown.on("console", lambda message: faults.append(f"console: {message.text}"))
    shown.on("pageerror", lambda error: faults.append(f"error: {error}"))
    shown.on("request", lambda request: _note(request.url, address, faults))
    shown.goto(address)
    try:
        yield shown, faults
    finally:
        shown.close()


def _note(url: str, address: str, faults: list[str]) -> None:
    if not url.startswith("data:") and url.partition("#")[0] != address:
        faults.append(f"request: {url}")
