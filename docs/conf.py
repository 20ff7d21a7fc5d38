"""Settings of Sphinx: `make docs` builds these pages."""

import re
import shutil
import sys
import typing
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

_DOCS = Path(__file__).parent
sys.path[:0] = [str(_DOCS.parent), str(_DOCS / "_ext")]
# jaxtyping, imported later, then shows `Float[Array, 'B H W 3']` as it was written.
typing.GENERATING_DOCUMENTATION = "logocap-jax"  # type: ignore[attr-defined]

project = "logocap-jax"
author = "The logocap-jax authors"
extensions = [
    "command_line",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_ext"]
# Indented blocks hold commands, tables, Python: none of it is guessed at.
highlight_language = "text"
smartquotes = False  # they would turn --option into a dash
html_show_copyright = False
# Names of libraries are not links: their pages are not read while building.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!logocap_jax\.|data_pipeline\.).*"),
    (r"py:.*", r".*\._\w+"),
]

myst_heading_anchors = 3

autosummary_generate = True
# Else pages of modules that are no more would stay.
shutil.rmtree(_DOCS / "_api", ignore_errors=True)
autodoc_mock_imports = ["apache_beam", "gradio"]  # of extras
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
# Each name on the page of the module that defines it.
autodoc_default_options = {"members": True, "ignore-module-all": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = "logocap-jax"
html_show_sphinx = False
templates_path = ["_templates"]


def _mark_code(
    app: Sphinx, what: str, name: str, member: object, options: Any, lines: list[str]
) -> None:
    """Docstrings write `name` for code, as Markdown does."""
    text = re.sub(r"(?<![`:])`([^`]+)`(?!`)", r"``\1``\\ ", "\n".join(lines))
    lines[:] = text.split("\n")


def _skip_field(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: Any
) -> bool | None:
    """Leave out what `NamedTuple` says of its fields: `Attributes:` says more."""
    return True if "Alias for field number" in (member.__doc__ or "") else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _mark_code, priority=400)
    app.connect("autodoc-skip-member", _skip_field)
