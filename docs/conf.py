"""Sphinx's settings; `make docs` builds the site."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "bayescale"
author = "The bayescale developers"
project_copyright = "The bayescale developers"
version = release = version_of("bayescale")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "glossary_links",
    "mathml",
    "reference",
]
exclude_patterns = ["_build", "_ext"]
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # the slugs of GitHub: a link with an anchor works there and here

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's Parameters say the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the template of a class lists them
smartquotes = False  # a quote in an option or in code is what is typed
default_role = "code"  # a single backtick in a docstring means code

html_theme = "furo"
html_title = "bayescale"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"
pygments_style, pygments_dark_style = "friendly", "native"


def setup(app: Sphinx) -> None:
    """Show tables of runs as they are: Pygments knows no CSV."""
    app.add_lexer("csv", TextLexer)
