"""What the scheduler must know of a back end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """The properties of a back end that decide a schedule.

    ``stacks_products``: products that share an operand pay as one. ``merges_calls``: equal elementwise work on adjacent
    slots pays as one call (where a call has a price, as in NumPy).
    """

    name: str
    stacks_products: bool = True
    merges_calls: bool = True
