"""Products as NumPy computes them: ``matmul`` wherever the axes can be brought into its form, else ``einsum``.

``matmul`` multiplies (..., rows, summed) by (..., summed, columns). Which labels of a product can be rows, columns and
leading axes follows from where they stand in the result, whose memory is given; operands are transposed and reshaped to
fit. Inside a loop only such rearrangements are used that are views; outside, an operand is copied once into the order
that is wanted and the copy serves every product that can use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Labels = tuple[str, ...]


@dataclass(frozen=True)
class Form:
    """A product as a matmul: leading axes, labels of rows, of the sum, of columns; and whether the operands swap."""

    lead: Labels
    rows: Labels
    summed: Labels
    columns: Labels
    swapped: bool


def matmul_forms(left: Labels, right: Labels, out: Labels) -> list[Form]:
    """All ways to compute the product as a matmul, those with the fewest leading axes first."""
    summed = tuple(label for label in left if label in right and label not in out)
    both = {label for label in out if label in left and label in right}
    forms = []
    if not summed:
        return []
    for count in range(len(out) + 1):
        lead, rest = out[:count], out[count:]
        if not both <= set(lead):
            continue
        for swapped in (False, True):
            first, second = (right, left) if swapped else (left, right)
            rows = tuple(label for label in rest if label in first)
            columns = tuple(label for label in rest if label in second)
            # Without rows and columns it would be a dot product for each leading index, which einsum does better.
            if rest and rest == rows + columns:
                forms.append(Form(lead, rows, summed, columns, swapped))
                break
    return forms


def arrangement(stored: Labels, lead: Labels, first: Labels, second: Labels) -> list[Labels]:
    """The groups of axes an operand is wanted in: its own leading ones singly, then two that are merged."""
    return [*((label,) for label in lead if label in stored), first, second]


def is_view(stored: Labels, groups: Sequence[Labels]) -> bool:
    """Whether an array can be brought into these groups without a copy: labels of a group must be neighbours."""
    return all(
        [stored.index(label) for label in group]
        == list(range(stored.index(group[0]), stored.index(group[0]) + len(group)))
        for group in groups
        if len(group) > 1
    )
