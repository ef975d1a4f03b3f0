"""The site: python -m sphinx docs docs/_build/html

Pages read well where they lie, too; here they are put together, with the derivation of every built-in cell.
"""

from __future__ import annotations

import re
from pathlib import Path

from lstmgen import __version__, finding, plugins

project = "lstmgen"
author = "The lstmgen authors"
release = __version__

extensions = ["myst_parser", "lstmgen.sphinx"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "alabaster"
html_theme_options = {
    "description": "From the equations of a recurrent cell to proven kernels",
    "page_width": "74rem",
    "sidebar_width": "15rem",
    "fixed_sidebar": True,
}
html_show_sourcelink = False
html_show_copyright = False
latex_engine = "xelatex"  # pages hold signs that pdflatex does not know

DERIVATIONS = Path(__file__).parent / "derivations"
PAGE = """# {name}

{reference}

```{{lstmgen-derivation}} {name}
```
"""

INDEX = """# Derivations

How the gradient of each built-in cell is derived, equation by equation; from the same steps the kernels are made.

```{{toctree}}
{names}
```
"""


def write_derivations() -> None:
    """A page for each built-in cell, and their list. A file that is current is left alone."""
    DERIVATIONS.mkdir(exist_ok=True)
    built_in = [each.name for each in plugins.available("cells") if each.target.startswith("lstmgen.cells.")]
    pages = {f"{name}.md": PAGE.format(name=name, reference=finding.find_cell(name).reference) for name in built_in}
    pages["index.md"] = INDEX.format(names="\n".join(built_in))
    for file in DERIVATIONS.glob("*.md"):
        if file.name not in pages:
            file.unlink()
    for name, text in pages.items():
        file = DERIVATIONS / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def unlink_sources(app: object, page: str, source: list[str]) -> None:
    """Leaves the words alone of links to what is in the repository, but not on the site."""
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", source[0])


def setup(app: object) -> None:
    """What Sphinx calls."""
    write_derivations()
    app.connect("source-read", unlink_sources)  # type: ignore[attr-defined]
