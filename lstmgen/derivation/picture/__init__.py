"""A cell as a picture drawn from its equations."""

from __future__ import annotations

from lstmgen.declare.declaration import Declaration
from lstmgen.derivation.document import Figure
from lstmgen.derivation.picture.layout import Layout, lay_out
from lstmgen.derivation.picture.reading import FormulaOf, network
from lstmgen.derivation.picture.shapes import described, drawn


def draw(declaration: Declaration, formula_of: FormulaOf) -> Layout:
    """One step of a cell as a network with places; ``formula_of`` writes the names of quantities."""
    return lay_out(network(declaration, formula_of))


def figure(layout: Layout) -> Figure:
    """The picture as a block of a document."""
    return Figure(drawn(layout), described(layout.network), network=layout.network)
