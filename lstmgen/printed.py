"""A derivation with the notation it is to be printed in: what `lstmgen.derive` returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lstmgen.choices import DETAILS, PARTS
from lstmgen.derivation.additions import Additions
from lstmgen.derivation.document import Document
from lstmgen.derivation.embedding import prefixed
from lstmgen.derivation.format import Format
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.outline import outline
from lstmgen.errors import PluginError, UserError
from lstmgen.finding import find_format


def _nothing(form: Format, part: str) -> Additions:
    return Additions()


@dataclass(frozen=True, repr=False)
class Printed:
    """A derivation and its notation; ``str()`` gives the text, and notebooks show it with its formulas.

    ``additions`` gives what other stages add, for one part or for all that a format shows: it may take a while.
    """

    derivation: Derivation
    notation: Notation
    additions: Callable[[Format, str], Additions] = _nothing

    def document(self, part: str = "", detail: str = "full", form: str = "text") -> Document:
        """The derivation as a document, as the format called ``form`` shows it: all of it, or one part.

        Raises :class:`UserError` for a part or a detail that there is not (LG401), and for a part that the format
        cannot print (LG402).
        """
        found = find_format(form)
        if detail not in DETAILS:
            raise UserError(f"there is no detail {detail!r}", code="LG401", hint=f"there are: {', '.join(DETAILS)}")
        if part and part not in PARTS:
            raise UserError(f"there is no part {part!r}", code="LG401", hint=f"there are: {', '.join(PARTS)}")
        if found.only and part not in ("", found.only):
            raise UserError(
                f"the format {form!r} cannot print the part {part!r}",
                code="LG402",
                hint=f"it prints the {found.only} alone; lstmgen list formats shows others",
            )
        chosen = part or found.only
        additions = self.additions(found, chosen)
        return outline(self.derivation, self.notation, part=chosen, detail=detail, additions=additions)

    def render(self, form: str, *, part: str = "", detail: str = "full", fragment: bool = False) -> str:
        """The derivation in the format called ``form``.

        A ``fragment`` shares its page with others: its links lead to this derivation, not to another. Raises
        :class:`PluginError` for a format that there is not, or that fails, and what :meth:`document` raises.
        """
        document = self.document(part, detail, form)
        return _rendered(form, prefixed(document, self._prefix()) if fragment else document, fragment)

    def __repr__(self) -> str:
        name = self.derivation.gradient.declaration.name
        return f"<the derivation of {name} in the notation {self.notation.name}>"

    def __str__(self) -> str:
        return self.render("text")

    def _repr_markdown_(self) -> str:
        return self.render("markdown", fragment=True)

    def _repr_latex_(self) -> str:
        return self.render("latex", fragment=True)

    def _repr_html_(self) -> str:
        return self.render("html", fragment=True)

    def _prefix(self) -> str:
        """What tells the anchors of this derivation from those of others."""
        declaration = self.derivation.gradient.declaration
        options = [f"{name}-{value}" for name, value in declaration.changed_options]
        return "-".join([declaration.name, *options, self.notation.name, ""]).replace(" ", "-")


def _rendered(form: str, document: Document, fragment: bool) -> str:
    """The text that a format gives; what goes wrong in a format of another package is told as that."""
    found = find_format(form)
    try:
        text = found.render(document, fragment)
    except (Exception, SystemExit) as error:
        if str(getattr(found.render, "__module__", "")).startswith("lstmgen."):
            raise
        raise _broken(form, f"{type(error).__name__}: {error}") from error
    if not isinstance(text, str):
        raise _broken(form, f"it gives a {type(text).__name__}, no text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _broken(form, f"it gives what is no Unicode: {error.reason}") from error
    return text


def _broken(form: str, why: str) -> PluginError:
    hint = f"lstmgen list formats names the package that registers {form!r}"
    return PluginError(f"the format {form!r} is broken: {why}", code="LG203", hint=hint)
