"""What the authors of formats find ready: formulas, links and drawings as other formats print them.

A formula in a language that is printed nowhere yet is made of :func:`pieces`, of which each knows its brackets
(:func:`needs_brackets` tells where those stand within a piece); :func:`rows` breaks what is too wide.
"""

from __future__ import annotations

from lstmgen.derivation.formats.brackets import Place, needs_brackets
from lstmgen.derivation.formats.breaking import Rows, rows
from lstmgen.derivation.formats.connections import connections
from lstmgen.derivation.formats.dot import graph
from lstmgen.derivation.formats.figures import figures, networks
from lstmgen.derivation.formats.groups import grouped
from lstmgen.derivation.formats.links import Links, blocks_of, links_of
from lstmgen.derivation.formats.mathml import inline_math
from lstmgen.derivation.formats.mermaid import chart
from lstmgen.derivation.formats.pieces import Kind, Mark, Piece, pieces
from lstmgen.derivation.formats.plain import plain, running
from lstmgen.derivation.formats.svg import element
from lstmgen.derivation.formats.tex import COMMON, Tex
from lstmgen.derivation.formats.tikz import tikz
from lstmgen.derivation.formula import Formula

__all__ = [
    "Kind",
    "Links",
    "Mark",
    "Piece",
    "Place",
    "Rows",
    "blocks_of",
    "chart",
    "connections",
    "element",
    "figures",
    "graph",
    "grouped",
    "inline_math",
    "links_of",
    "needs_brackets",
    "networks",
    "pieces",
    "plain",
    "rows",
    "running",
    "tex",
    "tikz",
]


def tex(formula: Formula, inline: bool = False) -> str:
    """``formula`` in the TeX that all readers of it know, without the dollars around; ``inline`` keeps it low."""
    return Tex(COMMON, inline)(formula)
