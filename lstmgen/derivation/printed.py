"""A derivation with the notation it is to be printed in: what `lstmgen.derive` returns."""

from __future__ import annotations

from dataclasses import dataclass

from lstmgen.derivation import text
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.notation import Notation


@dataclass(frozen=True)
class Printed:
    """A derivation and its notation; ``str()`` gives the text."""

    derivation: Derivation
    notation: Notation

    def __str__(self) -> str:
        return text.render(self.derivation, self.notation)
