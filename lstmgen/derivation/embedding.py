"""A document as it stands within another: with anchors that no other one has, and without a title of its own."""

from __future__ import annotations

from dataclasses import replace

from lstmgen.derivation.document import Block, Derived, Document, Equation, Listing, Section


def embedded(document: Document, prefix: str) -> Document:
    """``document`` without title and subtitle, with ``prefix`` before every anchor and every name of a section."""
    return replace(prefixed(document, prefix), title="", subtitle="")


def prefixed(document: Document, prefix: str) -> Document:
    """``document`` with ``prefix`` before every anchor and every name of a section."""
    lead = tuple(_block(each, prefix) for each in document.lead)
    return replace(document, lead=lead, sections=tuple(_section(each, prefix) for each in document.sections))


def _section(section: Section, prefix: str) -> Section:
    blocks = tuple(_block(each, prefix) for each in section.blocks)
    return replace(section, name=prefix + section.name, blocks=blocks)


def _block(block: Block, prefix: str) -> Block:
    match block:
        case Equation():
            return _equation(block, prefix)
        case Derived():
            return replace(
                block,
                steps=tuple(_equation(each, prefix) for each in block.steps),
                result=_equation(block.result, prefix),
                sources=tuple(prefix + each for each in block.sources),
                lines=tuple(prefix + each for each in block.lines),
            )
        case Listing():
            return replace(block, anchors=tuple((number, prefix + each) for number, each in block.anchors))
    return block


def _equation(equation: Equation, prefix: str) -> Equation:
    also = tuple(prefix + each for each in equation.also)
    return replace(equation, anchor=prefix + equation.anchor, also=also) if equation.anchor else equation
