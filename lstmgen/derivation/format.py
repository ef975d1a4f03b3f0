"""What a format is: how documents are printed, and what of a derivation is worth making for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lstmgen.choices import PARTS
from lstmgen.derivation.document import Document


@dataclass(frozen=True)
class Format:
    """A way to print documents.

    ``render`` gives the text of a document; where its second argument is true, without the frame of one: as a fragment
    that stands within another. A format prints every block that a document can have, if need be in words.

    Three parts of a derivation take time to make, or room to show. They are in a whole derivation only where a format
    asks for them: ``pictures`` of the cell, ``curves`` of the norms of its Jacobians, and the generated ``code``, with
    lines that equations can link to. By its name a picture or the code can be had in any format.

    ``only`` is the one part that a format prints which can print no other, such as "picture".
    """

    render: Callable[[Document, bool], str]
    pictures: bool = False
    curves: bool = False
    code: bool = False
    only: str = ""

    def __post_init__(self) -> None:
        """Refuses a part that there is not, and what cannot be called, so that such a format is told to be broken."""
        if not callable(self.render):
            raise TypeError(f"render is {self.render!r}, which cannot be called")
        if self.only and self.only not in PARTS:
            raise ValueError(f"there is no part {self.only!r}: only is one of {', '.join(PARTS)}")
