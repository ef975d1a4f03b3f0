"""Notations: how a derivation's symbols are written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notation:
    """How symbols are written. ``derivative`` writes a local derivative of one value by another."""

    name: str
    description: str

    def derivative(self, of: str, by: str) -> str:
        """The local derivative of ``of`` by ``by``."""
        return f"d({of})/d({by})"


code = Notation("code", "names as in the generated code: d_v is the gradient of the loss by v")
