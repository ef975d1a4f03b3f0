"""The signs of letters, accents and relations in Unicode."""

from __future__ import annotations

from lstmgen.derivation.greek import GREEK

ACCENTS = {"tilde": "\u0303", "bar": "\u0304", "hat": "\u0302"}
"""Combining characters by the names of accents."""

RELATIONS = {
    "=": "=", "<": "<", ">": ">", "<=": "≤", ">=": "≥", "in": "∈", "approx": "≈", ":=": "≔", "!=": "≠", "and": "∧",
    "or": "∨",
}  # fmt: skip
"""Signs of relations in Unicode; any other sign is words."""


def sign(base: str) -> str:
    """The Unicode sign of a base: a Greek letter by its name; anything else is itself."""
    return GREEK.get(base, base)
