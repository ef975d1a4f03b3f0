"""A format of this package: reStructuredText, with mathematics as Sphinx sets it."""

import re

from lstmgen.api import Format, document, printing


def render(made, fragment):
    """The text of a document; a fragment has no title."""
    parts = [] if fragment else [titled(made.title, "=")]
    parts += [block(each) for each in made.lead]
    for section in made.sections:
        parts += [titled(section.title, "-" if section.level == 1 else "~"), *map(block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def block(of):
    """One block. Whatever can stand in a document is printed, a figure in words."""
    match of:
        case document.Paragraph(pieces):
            return running(pieces)
        case document.Equation():
            note = [f"{running(of.note)}:"] if of.note else []
            return "\n\n".join([*note, f".. math::\n\n   {printing.tex(of.formula)}"])
        case document.Derived(lead, steps, result):
            return "\n\n".join([running(lead), *map(block, (*steps, result))])
        case document.Table():
            return "\n".join("| " + ", ".join(map(running, row)) for row in (*filter(None, [of.head]), *of.rows))
        case document.Figure():
            return running(of.alternative)
        case document.Listing():
            return f".. code-block:: {of.language}\n\n" + "\n".join(f"   {line}" for line in of.lines)


def running(pieces):
    """Running text: words, with what means something here escaped, and formulas among them."""
    return "".join(words(each) if isinstance(each, str) else math(each) for each in pieces)


def words(text):
    return re.sub(r"([\\*`_|])", r"\\\1", " ".join(text.split("\n")))


def math(formula):
    return rf"\ :math:`{printing.tex(formula, inline=True)}`\ "


def titled(title, rule):
    return f"{words(title)}\n{rule * len(words(title))}"


rst = Format(render)
