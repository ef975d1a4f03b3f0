"""A cell's derivation with everything that other stages add to it: picture, example, curves, and the code itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstmgen import finding, pipeline
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.cell import Cell
from lstmgen.derivation import jacobian, picture, worked
from lstmgen.derivation.additions import Additions
from lstmgen.derivation.code import Lines, lines_of, listing_section
from lstmgen.derivation.document import Figure
from lstmgen.derivation.narration import Derivation, narrate
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.page import open_page
from lstmgen.derivation.printed import Printed

PICTURED = ("html", "latex")
"""Formats that show pictures; for others none are drawn, nor curves computed."""

LISTED = ("html",)
"""Formats that link equations to lines of code."""


def derive(cell: Cell, notation: Notation, options: Mapping[str, Any]) -> Printed:
    """The derivation of a cell; what it takes time to add is made when it is printed."""
    derivation = narrate(pipeline.derive_gradient(cell, options))

    def additions(form: str, part: str) -> Additions:
        return _additions(cell, options, derivation, notation, form, part)

    return Printed(derivation, notation, additions)


def _additions(
    cell: Cell, options: Mapping[str, Any], derivation: Derivation, notation: Notation, form: str, part: str
) -> Additions:
    gradient = derivation.gradient
    page = open_page(derivation, notation)
    curves = _curves(cell, options, gradient) if form in PICTURED and part in ("", "jacobian") else None
    sections = [
        worked.section(derivation, notation),
        jacobian.section(derivation, page.formula_of, curves),
    ]
    drawn: Figure | None = None
    if form in PICTURED and not part:
        drawn = picture.figure(picture.draw(gradient.declaration, page.formula_of))
    lines: dict[str, Lines] = {}
    if form in LISTED and not part:
        source = pipeline.compile_cell(cell, finding.find_backend("numpy"), options).source
        listing, computed = listing_section(source, "_backward")
        sections.append(listing)
        lines = lines_of(page.telling, computed)
    return Additions(drawn, tuple(sections), lines)


def _curves(cell: Cell, options: Mapping[str, Any], gradient: Gradient) -> jacobian.Curves | None:
    """Norms of products of Jacobians, for a cell with a gate that keeps a state."""
    kept = jacobian.carried(gradient)
    if kept is None or not jacobian.can_be_drawn(gradient.declaration):
        return None
    state, bias = kept
    return jacobian.curves(pipeline.load(cell, **options), state.name, bias.name, pipeline.load("rnn"), "U_h")
