"""A derivation with the notation it is to be printed in: what `lstmgen.derive` returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lstmgen import plugins
from lstmgen.derivation.document import Document, Section
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.outline import outline


@dataclass(frozen=True)
class Printed:
    """A derivation and its notation; ``str()`` gives the text, and notebooks show it with its formulas."""

    derivation: Derivation
    notation: Notation
    extra: Sequence[Section] = field(default=())

    def document(self, part: str = "", detail: str = "full") -> Document:
        """The derivation as a document. Raises :class:`UserError` (LG401) for a part that there is not."""
        return outline(self.derivation, self.notation, part=part, detail=detail, extra=self.extra)

    def render(self, form: str, *, part: str = "", detail: str = "full", fragment: bool = False) -> str:
        """The derivation in the format called ``form``. Raises :class:`PluginError` for a format that there is not."""
        printer: Callable[[Document, bool], str] = plugins.load("formats", form)
        return printer(self.document(part, detail), fragment)

    def __str__(self) -> str:
        return self.render("text")

    def _repr_markdown_(self) -> str:
        return self.render("markdown", fragment=True)

    def _repr_latex_(self) -> str:
        return self.render("latex", fragment=True)

    def _repr_html_(self) -> str:
        return self.render("html", fragment=True)
