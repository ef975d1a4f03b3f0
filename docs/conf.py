"""The site: python -m sphinx docs docs/_build/html

Pages read well where they lie, too; here they are put together, with the derivation of every built-in cell.
"""

from __future__ import annotations

import re
from pathlib import Path

from lstmgen import __version__, finding, plugins
from lstmgen.declare.cell import Cell

project = "lstmgen"
author = "The lstmgen authors"
release = __version__

extensions = ["myst_parser", "lstmgen.sphinx"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_static_path = ["static"]
html_css_files = ["site.css"]
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
PAGE = """# {name}: {title}

{reference}

```{{lstmgen-derivation}} {name}
```
"""

INDEX = """# Derivations

How the gradient of each built-in cell is derived, equation by equation; from the same steps the kernels are made.

{lines}

```{{toctree}}
:hidden:

{entries}
```
"""

FORMULAS = re.compile(r"^(- `(\w+)`:.*\n\n)  ```text\n(?:  .*\n)+?  ```$", re.MULTILINE)
DIRECTIVE = r"""\1  ```{lstmgen-derivation} lstm
  :notation: \2
  :equations: forward-a_f forward-c backward-a_f
  ```"""


def write_derivations() -> None:
    """A page for each built-in cell, and their list. A file that is current is left alone."""
    DERIVATIONS.mkdir(exist_ok=True)
    built_in = [each.name for each in plugins.available("cells") if each.target.startswith("lstmgen.cells.")]
    titles = {name: title_of(finding.find_cell(name)) for name in built_in}
    pages = {
        f"{name}.md": PAGE.format(name=name, title=title, reference=finding.find_cell(name).reference)
        for name, title in titles.items()
    }
    pages["index.md"] = INDEX.format(
        lines="\n".join(f"- [{name}]({name}.md): {title}" for name, title in titles.items()),
        entries="\n".join(f"{name} <{name}>" for name in titles),  # what stands beside every page is short
    )
    for file in DERIVATIONS.glob("*.md"):
        if file.name not in pages:
            file.unlink()
    for name, text in pages.items():
        file = DERIVATIONS / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def title_of(cell: Cell) -> str:
    """What a cell is: the first paragraph of its description, without a full stop."""
    return " ".join(cell.doc.partition("\n\n")[0].split()).removesuffix(".")


def print_formulas(app: object, page: str, source: list[str]) -> None:
    """Prints as mathematics what the page of notations has as text, for readers of the file."""
    if page == "notations":
        source[0] = FORMULAS.sub(DIRECTIVE, source[0])


def unlink_sources(app: object, page: str, source: list[str]) -> None:
    """Leaves the words alone of links to what is in the repository, but not on the site."""
    source[0] = re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", source[0])


def setup(app: object) -> None:
    """What Sphinx calls."""
    write_derivations()
    for change in (unlink_sources, print_formulas):
        app.connect("source-read", change)  # type: ignore[attr-defined]
