"""`docs/notations.md` shows the same three equations in every notation, as the text format prints them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lstmgen import pipeline, plugins
from lstmgen.derivation.document import Derived, Equation
from lstmgen.derivation.formats.plain import plain
from lstmgen.derivation.narration import Derivation, narrate
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.outline import outline
from lstmgen.finding import find_cell, find_notation

PAGE = (Path(__file__).resolve().parent.parent / "docs/notations.md").read_text(encoding="utf-8")


def rows() -> Iterator[str]:
    """The rows of the page's table."""
    derivation = narrate(pipeline.derive_gradient(find_cell("lstm"), {}))
    for plugin in plugins.available("notations"):
        if plugin.packages == ("lstmgen",):
            yield _row(find_notation(plugin.name), derivation)


def _row(notation: Notation, derivation: Derivation) -> str:
    made = outline(derivation, notation)
    blocks = [block for section in made.sections for block in section.blocks]
    equations = {block.anchor: block for block in blocks if isinstance(block, Equation)}
    equations |= {block.result.anchor: block.result for block in blocks if isinstance(block, Derived)}
    three = (plain(equations[anchor].formula) for anchor in ("forward-a_f", "forward-c", "backward-a_f"))
    return " | ".join([f"| `{notation.name}`", *(f"`{each}`" for each in three)]) + " |"


def test_the_page_shows_three_equations_in_every_notation() -> None:
    assert [line for line in PAGE.splitlines() if line.startswith("| `")] == list(rows())


def test_the_page_describes_every_notation() -> None:
    for plugin in plugins.available("notations"):
        if plugin.packages == ("lstmgen",):
            assert f"- `{plugin.name}`: {find_notation(plugin.name).description}" in PAGE
