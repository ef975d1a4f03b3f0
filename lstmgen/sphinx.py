"""A Sphinx extension: the directive ``lstmgen-derivation`` prints a cell's derivation within a page.

    extensions = ["lstmgen.sphinx"]

    .. lstmgen-derivation:: lstm
       :notation: torch
       :part: backward
       :detail: brief
       :set: peephole=true

With ``:equations: forward-c backward-a_f`` nothing but these is shown, by the names that links have for them.

The argument is a registered cell, or a file (``./my_cell.py``, ``./my_cell.py:name``): from the page's folder, or from
the site's where it begins with ``/``. Pages that show a cell are built anew when its file changes.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from lstmgen import deriving, finding
from lstmgen.choices import DETAILS
from lstmgen.derivation.document import Derived, Document, Equation
from lstmgen.derivation.embedding import embedded
from lstmgen.derivation.formats import html
from lstmgen.derivation.formats.latex import PACKAGES
from lstmgen.derivation.formats.links import blocks_of
from lstmgen.errors import UserError
from lstmgen.printed import Printed
from lstmgen.version import VERSION

logger = logging.getLogger(__name__)

FORMATS = {"html": "html", "latex": "latex"}
"""The format for each kind of Sphinx's builders; all others get text."""

STYLE = "lstmgen.css"
"""The style of derivations in HTML: a file that all pages share."""


class DerivationNode(nodes.General, nodes.Element):
    """Stands in the page until a builder is known: holds what :func:`_printed` needs, and ``part``, ``detail``."""


class DerivationDirective(SphinxDirective):
    """``.. lstmgen-derivation:: CELL``; a user's mistake is a warning here, and nothing is shown."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {
        "notation": directives.unchanged_required,
        "part": directives.unchanged_required,
        "detail": lambda text: directives.choice(text, DETAILS),
        "set": directives.unchanged_required,
        "equations": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """The node that stands for the derivation."""
        try:
            return [self._node()]
        except UserError as error:
            self._warn(str(error), error.code)
            return []

    def _node(self) -> DerivationNode:
        node = DerivationNode(
            cell=self._origin(self.arguments[0]),
            notation=self.options.get("notation", "standard"),
            part=self.options.get("part", ""),
            detail=self.options.get("detail", DETAILS[0]),
            settings=tuple(self.options.get("set", "").split()),
            equations=tuple(self.options.get("equations", "").split()),
        )
        self.set_source_info(node)
        cell = finding.find_cell(node["cell"])
        source = inspect.getsourcefile(inspect.unwrap(cell.function))
        if source:
            self.env.note_dependency(source)
        printed = _printed(node)
        told = printed.document(node["part"], node["detail"])  # so that mistakes are told where the page is read
        missing = [each for each in node["equations"] if each not in _equations(told)]
        if missing:
            raise self.error(f"there is no equation {missing[0]!r}; there are: {', '.join(_equations(told))}")
        for warning in printed.derivation.gradient.declaration.warnings:
            self._warn(str(warning), warning.code)
        others = self.env.new_serialno(f"lstmgen-{cell.name}")
        node["prefix"] = f"{cell.name}-{others + 1}-" if others else f"{cell.name}-"
        return node

    def _origin(self, argument: str) -> str:
        """The cell as :func:`find_cell` takes it; the page depends on its file even where there is none yet."""
        file, colon, name = argument.partition(":")
        if not file.endswith(".py") and "/" not in file and os.sep not in file:
            return argument
        relative, absolute = self.env.relfn2path(file)
        self.env.note_dependency(relative)
        return f"{absolute}{colon}{name}"

    def _warn(self, message: str, code: str) -> None:
        logger.warning("%s", message, location=self.get_location(), type="lstmgen", subtype=code)


class PrintDerivations(SphinxPostTransform):
    """Puts derivations in the format that the builder needs in the places of their nodes."""

    default_priority = 200

    def run(self, **kwargs: Any) -> None:
        """Replaces every node by what it stands for."""
        form = FORMATS.get(self.app.builder.format, "text")
        for node in list(self.document.findall(DerivationNode)):
            document = _printed(node).document(node["part"], node["detail"], form)
            if node["equations"]:
                document = _alone(document, node["equations"])
            document = embedded(document, node["prefix"])
            text = html.unstyled(document) if form == "html" else finding.find_format(form).render(document, True)
            shown = nodes.raw(text, text, format=form) if form != "text" else nodes.literal_block(text, text)
            if form == "text":
                shown["language"] = "none"
            node.replace_self(shown)


def _printed(node: DerivationNode) -> Printed:
    cell = finding.find_cell(node["cell"])
    options = finding.find_options(cell, node["settings"], flag=":set:")
    return deriving.derive(cell, finding.find_notation(node["notation"]), options)


def _equations(document: Document) -> dict[str, Equation]:
    """Every equation of a document that has a name, by it."""
    results = (each.result if isinstance(each, Derived) else each for each in blocks_of(document))
    equations = (each for each in results if isinstance(each, Equation))
    return {anchor: each for each in equations for anchor in each.anchors}


def _alone(document: Document, names: Sequence[str]) -> Document:
    """A document of nothing but the equations that are named, without what leads elsewhere."""
    equations = _equations(document)
    return replace(document, lead=tuple(Equation(equations[name].formula) for name in names), sections=())


def _write_style(app: Sphinx) -> None:
    if app.builder.format == "html":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STYLE).write_text(html.style(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_node(DerivationNode)
    app.add_directive("lstmgen-derivation", DerivationDirective)
    app.add_post_transform(PrintDerivations)
    app.connect("builder-inited", _write_style)
    app.add_css_file(STYLE)
    for package in PACKAGES:
        app.add_latex_package(package)
    return {"version": VERSION, "parallel_read_safe": True, "parallel_write_safe": True}
