"""What `lstmgen derive` prints: every built-in cell in `standard`, and `lstm` in every other notation."""

from __future__ import annotations

from types import ModuleType

import pytest

import lstmgen
from lstmgen import plugins
from lstmgen.declare.cell import Cell
from lstmgen.derivation import jacobian
from lstmgen.derivation.jacobian import BIASES, EVERY, HIDDEN, SCALES, STEPS, Curve, Curves

CELLS = [each.name for each in plugins.available("cells") if each.packages == ("lstmgen",)]
NOTATIONS = [each.name for each in plugins.available("notations") if each.packages == ("lstmgen",)]
AT = (1, *range(EVERY, STEPS + 1, EVERY))
NAMES = {name: (name, "standard") for name in CELLS} | {
    f"lstm in {notation}": ("lstm", notation) for notation in NOTATIONS if notation != "standard"
}
"""Cell and notation by the name of a document."""


def whole_documents(form: str) -> dict[str, str]:
    """All documents in one format."""
    return {name: whole_document(cell, form, notation) for name, (cell, notation) in NAMES.items()}


def whole_document(cell: Cell | str, form: str, notation: str = "standard") -> str:
    """One document. Its curves are invented: to compute them takes longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jacobian, "curves", _invented_curves)
        return lstmgen.derive(cell, notation=notation).render(form)


def _invented_curves(module: ModuleType, state: str, bias: str, plain: ModuleType, matrix: str) -> Curves:
    def falling(label: str, speed: float) -> Curve:
        return Curve(label, tuple(10.0 ** (-speed * step) for step in AT))

    gated = tuple(falling(f"bias {value:g}", 0.3 / (1 + value)) for value in BIASES)
    simple = tuple(falling(f"RNN × {scale:.2g}", 0.3 / scale) for scale in SCALES)
    return Curves(state, HIDDEN, AT, gated, gated, simple)
