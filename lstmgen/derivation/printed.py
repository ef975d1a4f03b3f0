"""A derivation with the notation it is to be printed in: what `lstmgen.derive` returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lstmgen import plugins
from lstmgen.derivation.additions import Additions
from lstmgen.derivation.document import Document
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.outline import outline


def _nothing(form: str, part: str) -> Additions:
    return Additions()


@dataclass(frozen=True)
class Printed:
    """A derivation and its notation; ``str()`` gives the text, and notebooks show it with its formulas.

    ``additions`` gives what a format can show besides, for one part or for all: it may take a while.
    """

    derivation: Derivation
    notation: Notation
    additions: Callable[[str, str], Additions] = _nothing

    def document(self, part: str = "", detail: str = "full", form: str = "text") -> Document:
        """The derivation as a document. Raises :class:`UserError` (LG401) for a part that there is not."""
        additions = self.additions(form, part)
        return outline(self.derivation, self.notation, part=part, detail=detail, additions=additions)

    def render(self, form: str, *, part: str = "", detail: str = "full", fragment: bool = False) -> str:
        """The derivation in the format called ``form``. Raises :class:`PluginError` for a format that there is not."""
        printer: Callable[[Document, bool], str] = plugins.load("formats", form)
        return printer(self.document(part, detail, form), fragment)

    def __str__(self) -> str:
        return self.render("text")

    def _repr_markdown_(self) -> str:
        return self.render("markdown", fragment=True)

    def _repr_latex_(self) -> str:
        return self.render("latex", fragment=True)

    def _repr_html_(self) -> str:
        return self.render("html", fragment=True)
