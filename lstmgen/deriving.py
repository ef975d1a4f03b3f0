"""A cell's derivation with everything that other stages add to it: picture, example, curves, and the code itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from lstmgen import finding, pipeline
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.cell import Cell
from lstmgen.derivation import jacobian, picture, worked
from lstmgen.derivation.additions import Additions
from lstmgen.derivation.code import Lines, lines_of, listing_section
from lstmgen.derivation.document import Figure, Section
from lstmgen.derivation.format import Format
from lstmgen.derivation.narration import narrate
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.page import open_page
from lstmgen.printed import Printed


def derive(cell: Cell, notation: Notation, options: Mapping[str, Any]) -> Printed:
    """The derivation of a cell; what it takes time to add is made when it is printed."""
    derivation = narrate(pipeline.derive_gradient(cell, options))
    gradient = derivation.gradient

    # A notebook asks for several formats at once.
    @cache
    def curves() -> jacobian.Curves | None:
        return _curves(cell, options, gradient)

    @cache
    def example() -> Section:
        return worked.section(derivation, notation)

    @cache
    def source() -> str:
        return pipeline.compile_cell(cell, finding.find_backend("numpy"), options).source

    @cache
    def drawn() -> Figure:
        return picture.figure(picture.draw(gradient.declaration, open_page(derivation, notation).formula_of))

    def additions(form: Format, part: str) -> Additions:
        def wanted(name: str, shown: bool = True) -> bool:
            return part == name or (not part and shown)

        page = open_page(derivation, notation)
        sections = []
        lines: dict[str, Lines] = {}
        if wanted("example"):
            sections.append(example())
        if wanted("jacobian"):
            shown = form.curves or part == "jacobian"
            sections.append(jacobian.section(derivation, page.formula_of, curves() if shown else None))
        if wanted("code", form.code):
            listing, computed = listing_section(source(), "_backward")
            sections.append(listing)
            lines = lines_of(page.telling, computed)
        figure = drawn() if wanted("picture", form.pictures) else None
        return Additions(figure, tuple(sections), lines)

    return Printed(derivation, notation, additions)


def _curves(cell: Cell, options: Mapping[str, Any], gradient: Gradient) -> jacobian.Curves | None:
    """Norms of products of Jacobians, for a cell with a gate that keeps a state."""
    kept = jacobian.carried(gradient)
    if kept is None or not jacobian.can_be_drawn(gradient.declaration):
        return None
    state, bias = kept
    return jacobian.curves(pipeline.load(cell, **options), state.name, bias.name, pipeline.load("rnn"), "U_h")
