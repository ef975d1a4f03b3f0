"""A derivation as a document, in the order in which a teacher would tell it.

First what the cell is and what its symbols mean, then the equations of a step, then the same equations in reverse, then
what adds up over time, then all gates at once. Other sections, such as a worked example, are handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from lstmgen.derivation.additions import Additions, with_lines
from lstmgen.derivation.backward import backward_section, sums_section
from lstmgen.derivation.document import Block, Document, Paragraph, Section
from lstmgen.derivation.forward import forward_sections
from lstmgen.derivation.matrix import matrix_section
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.page import Page, open_page
from lstmgen.derivation.signs import with_signs

NOTHING = Additions()
PICTURE = "picture"


def outline(
    derivation: Derivation,
    notation: Notation,
    *,
    part: str = "",
    detail: str = "full",
    additions: Additions = NOTHING,
) -> Document:
    """The document: all of it, or one ``part`` alone. ``detail`` "brief" leaves out the steps of the backward pass.

    A picture stands in the lead of the whole, and is a section where it is all that is asked for.
    """
    page = open_page(derivation, notation)
    makers: dict[str, Callable[[], Iterable[Section]]] = {
        "forward": lambda: forward_sections(page),
        "backward": lambda: [backward_section(page, brief=detail == "brief")],
        "sums": lambda: [sums_section(page)],
        "matrix": lambda: [matrix_section(page)],
    }
    own = [section for name, make in makers.items() if part in ("", name) for section in make()]
    sections = with_lines(with_signs((*own, *additions.sections)), additions.lines)
    picture = (additions.picture,) if additions.picture else ()
    if part:
        shown = tuple(_of_part(sections, part))
        if part == PICTURE and picture:
            shown = (Section(PICTURE, "One step as a picture", picture),)
        return Document(_title(derivation), derivation.gradient.declaration.reference, (), shown)
    lead = (*_lead(page), *picture)
    return Document(_title(derivation), derivation.gradient.declaration.reference, lead, sections)


def _title(derivation: Derivation) -> str:
    """The cell's name, and the first sentence that is said of it."""
    declaration = derivation.gradient.declaration
    first = _sentences(_plain(declaration.doc.split("\n\n")[0]))[0].rstrip(".")
    return f"{declaration.name}: {first}" if first else declaration.name


def _sentences(words: str) -> list[str]:
    """Sentences end after a word of three letters or more, before a capital letter: not within ``et al. 2014``."""
    return re.split(r"(?<=[^\W\d_]{3}[.!?])\s+(?=[A-Z])", words)


def _of_part(sections: Sequence[Section], part: str) -> Iterator[Section]:
    """The section of a part, and those within it."""
    inside = False
    for section in sections:
        if section.level == 1:
            inside = section.name == part
        if inside:
            yield section


def _plain(words: str) -> str:
    """A docstring's words in one line, without the marks around names of code."""
    return " ".join(words.replace("`", "").split())


def _lead(page: Page) -> Iterator[Block]:
    """What the declaration says of the cell, and with which options it was traced."""
    declaration = page.gradient.declaration
    if declaration.changed_options:
        options = ", ".join(f"{name} = {value}" for name, value in declaration.changed_options)
        yield Paragraph((f"Traced with {options}.",))
    first, *others = declaration.doc.split("\n\n")
    # A first paragraph of one sentence is the title already.
    for paragraph in others if len(_sentences(_plain(first))) == 1 else (first, *others):
        if paragraph.strip():
            yield Paragraph((_plain(paragraph),))
