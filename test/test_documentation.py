"""README.md, CONTRIBUTING.md and docs/ are true: their links lead somewhere, and their commands exist."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from depth_completion_ros.cli import COMMANDS, command_module

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "models/*.md", "samples/**/*.md", "examples/*.md")
    for path in ROOT.glob(pattern)
)
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def text_of(page: Path) -> str:
    return CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = HEADING.findall(text_of(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands() -> list[str]:
    """All calls of depth-completion in code of the pages, continued lines joined."""
    found = set()
    for page in PAGES:
        joined = page.read_text(encoding="utf-8").replace("\\\n", " ")
        found |= set(re.findall(r"^ {4,}(depth-completion .*)$", joined, re.MULTILINE))
    return sorted(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_resolve(page):
    for link in LINK.findall(text_of(page)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {path.name for suffix in ("md", "rst") for path in (ROOT / "docs").glob(f"*.{suffix}")} - {"index.md"}
    assert {name for name in pages if f"]({name})" not in index} == set()


def test_sphinx_builds_all_pages_without_warnings(tmp_path):
    pytest.importorskip("sphinx", reason="needs Sphinx: pip install -e '.[docs]'")
    pytest.importorskip("myst_parser", reason="needs myst-parser: pip install -e '.[docs]'")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "doctrees"]
    done = subprocess.run(
        [*build, ROOT / "docs", tmp_path / "html"], capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert 'id="depth_completion_ros.DepthCompleter.complete"' in (tmp_path / "html" / "api.html").read_text(
        encoding="utf-8"
    )
    index = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert {page.stem for page in (ROOT / "docs").glob("*.md") if f'href="{page.stem}.html' not in index} <= {"index"}


@pytest.mark.parametrize("line", commands())
def test_commands_exist_and_take_the_options_that_are_shown(line):
    words = shlex.split(line.partition(";")[0], comments=True)[1:]
    name = next((name for n in (2, 1) if (name := " ".join(words[:n])) in COMMANDS), None)
    assert name is not None, line
    parser = argparse.ArgumentParser()
    command_module(name).configure(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    options = [word for word in words[: words.index("--ros-args") if "--ros-args" in words else None] if word[0] == "-"]
    assert set(options) <= known, line
