"""The matrix products that a cell cannot do without: what is left of it where all else costs nothing.

They follow from the gradient's equations alone, not from any schedule:

- A product of a parameter with values that no earlier step reaches is one product over all steps; so is one whose
  result no later step needs. Any other is computed at every step.
- Products that share their right operand are one with a taller matrix; products that one sum adds up are one with a
  wider matrix.
- The gradient of a parameter in a product is one product over all rows and steps, taller where it shares its right
  operand.
- A product of two values that both have rows (a matrix memory with a query) is one for every row, at every step.

Products without a sum (outer products), dot products of two vectors and everything elementwise are no matrix products.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lstmgen.bench.shapes import Dims

STEPS, BATCH = "steps", "batch"

Extent = tuple[Dims, ...]
"""The length of an axis: a sum of products of dimensions. ``(("hidden",), ("hidden",))`` is twice hidden."""


class When(StrEnum):
    """How often a product is computed."""

    ONCE = "once"
    ALL_STEPS = "once, for all steps"
    EVERY_STEP = "at every step"


@dataclass(frozen=True)
class Product:
    """``left @ right`` with the shapes (*stack, rows, inner) and (*stack, inner, columns).

    ``left`` and ``right`` name the values that lie side by side in the operands.
    """

    when: When
    left: tuple[str, ...]
    right: tuple[str, ...]
    stack: Dims
    rows: Extent
    inner: Extent
    columns: Extent

    def shapes(self, sizes: Mapping[str, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of both operands; ``sizes`` holds those of steps and batch too."""
        stack = tuple(sizes[dim] for dim in self.stack)
        rows, inner, columns = (length(extent, sizes) for extent in (self.rows, self.inner, self.columns))
        return (*stack, rows, inner), (*stack, inner, columns)

    def operations(self, sizes: Mapping[str, int]) -> int:
        """Multiplications and additions of one call of a pass."""
        (*stack, rows, inner), (*_, columns) = self.shapes(sizes)
        times = sizes[STEPS] if self.when is When.EVERY_STEP else 1
        return 2 * times * math.prod(stack) * rows * inner * columns

    def __str__(self) -> str:
        lead = "".join(f"{dim}, " for dim in self.stack)
        rows, inner, columns = map(spell, (self.rows, self.inner, self.columns))
        operands = f"[{', '.join(self.left)}] @ [{', '.join(self.right)}]"
        return f"{operands}: ({lead}{rows}, {inner}) @ ({lead}{inner}, {columns}), {self.when}"


@dataclass(frozen=True)
class Floor:
    """The products of forward, and those that backward adds."""

    forward: tuple[Product, ...]
    backward: tuple[Product, ...]


def length(extent: Extent, sizes: Mapping[str, int]) -> int:
    """The length of an axis in numbers."""
    return sum(math.prod(sizes[dim] for dim in dims) for dims in extent)


def spell(extent: Extent) -> str:
    """An extent as text: ``4 hidden``, ``2 key + 1``."""
    counts: dict[Dims, int] = {}
    for dims in extent:
        counts[dims] = counts.get(dims, 0) + 1
    terms = []
    for dims, count in counts.items():
        words = [str(count)] if count > 1 or not dims else []
        terms.append(" ".join([*words, " * ".join(dims)] if dims else words))
    return " + ".join(terms)


@dataclass(frozen=True)
class Factor:
    """One product of two values before any merging. ``sums`` names the sum that alone reads it, if one does."""

    when: When
    left: str
    right: str
    stack: Dims
    rows: Dims
    inner: Dims
    columns: Dims
    sums: str = ""
    total: bool = False  # the inner axis is rows and steps: a parameter's gradient


def merge(factors: Iterable[Factor]) -> tuple[Product, ...]:
    """Factors with one right operand become one taller product, those of one sum one wider product."""
    tall: dict[tuple[object, ...], list[Factor]] = {}
    for each in factors:
        # The result of a product of two values with rows is needed at once: nothing waits to join it.
        alone = each.left if BATCH in each.stack else ""
        key = (each.when, each.right, each.stack, each.inner, each.columns, each.total, alone)
        tall.setdefault(key, []).append(each)
    wide: dict[tuple[object, ...], list[list[Factor]]] = {}
    for index, group in enumerate(tall.values()):
        first = group[0]
        joins = all(each.sums for each in group) and not first.total
        # Groups join if they end in the same sums, whatever the order in which they were declared.
        results = tuple(sorted((each.sums, each.rows) for each in group)) if joins else index
        wide.setdefault((first.when, first.stack, first.columns, results), []).append(group)
    products = [_product(groups) for groups in wide.values()]
    # One column times one row is an outer product.
    return tuple(each for each in products if each.inner != ((),))


def _product(groups: Sequence[Sequence[Factor]]) -> Product:
    if len(groups) > 1:
        groups = [sorted(group, key=lambda each: each.sums) for group in groups]
    first = groups[0]
    return Product(
        first[0].when,
        tuple(each.left for group in groups for each in group),
        tuple(group[0].right for group in groups),
        first[0].stack,
        tuple(each.rows for each in first),
        tuple(group[0].inner for group in groups),
        (first[0].columns,),
    )


def split_axes(left: Dims, right: Dims, axes: Sequence[Sequence[int]]) -> tuple[Dims, Dims, Dims, Dims]:
    """The dimensions of a contraction: shared by all three, of the left alone, summed over, of the right alone."""
    of_left, of_right, of_out = axes
    names = dict(zip(of_left, left, strict=True)) | dict(zip(of_right, right, strict=True))

    def named(labels: Iterable[int]) -> Dims:
        return tuple(names[label] for label in labels)

    return (
        named(label for label in of_left if label in of_right and label in of_out),
        named(label for label in of_left if label not in of_right),
        named(label for label in of_left if label in of_right and label not in of_out),
        named(label for label in of_right if label not in of_left),
    )


def text(floor: Floor) -> Iterator[str]:
    """The floor, a line for each product."""
    for title, products in (("forward", floor.forward), ("backward", floor.backward)):
        yield f"{title}:" if products else f"{title}: none"
        yield from (f"  {each}" for each in products)
