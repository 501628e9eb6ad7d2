"""Settings of Sphinx for these pages: ``sphinx-build -W docs build/docs``. rosdoc2 uses them too (see rosdoc2.yaml)."""

import re

project = "depth_completion_ros"
author = "depth_completion_ros maintainers"
project_copyright = author
release = "0.2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
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


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", adapt_to_sphinx)
