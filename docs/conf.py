"""Settings of Sphinx for these pages: ``sphinx-build -W docs build/docs``. rosdoc2 uses them too (see rosdoc2.yaml)."""

import importlib.util
import re
import sys
from pathlib import Path

# Sphinx changes to the folder of this file, and rosdoc2 to a copy of it some levels below the package.
sys.path[:0] = [str(p) for p in Path.cwd().parents if (p / "depth_completion_ros" / "__init__.py").is_file()][:1]

project = "depth_completion_ros"
author = "depth_completion_ros maintainers"
project_copyright = author
release = "0.2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# What rosdoc2 adds: an index, a page for each module, and copies of files that docs/ links to.
exclude_patterns = ["index.rst", "modules.rst", "depth_completion_ros*.rst", "standard_docs", "standards.rst", "__*"]
myst_heading_anchors = 3  # links such as models.md#networks use the anchors that GitHub gives to headings
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True  # defaults as in the source code
napoleon_use_ivar = True  # attributes as a list within their class


def adapt_to_sphinx(app, docname, source):
    """Adapt a page, which is written for GitHub.

    Links to files outside docs/, which Sphinx does not see, become plain text. The pages that the index links to become
    its table of contents.
    """
    text = re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", source[0])
    if docname == "index":
        pages = re.findall(r"\]\((\w+\.(?:md|rst))\)", text)
        text += "\n".join(["", "```{toctree}", ":hidden:", "", *pages, "```"])
    source[0] = text


def mock_rosbags(app, config):
    """Let autodoc import the package where rosbags is missing, as on the machines of docs.ros.org.

    rosdoc2 overwrites the setting ``autodoc_mock_imports`` of this file, so the setting is extended later.
    """
    if importlib.util.find_spec("rosbags") is None:
        config.autodoc_mock_imports = [*config.autodoc_mock_imports, "rosbags"]


def setup(app):
    """Connect the functions above to the events of Sphinx."""
    app.connect("config-inited", mock_rosbags)
    app.connect("source-read", adapt_to_sphinx)
