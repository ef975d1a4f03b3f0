"""Shapes to measure at, and the size that each dimension of a cell has at a shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass

Dims = tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """How much work one call is: steps, rows of the batch, and the sizes of the two dimensions that most cells have."""

    steps: int
    batch: int
    features: int
    hidden: int

    def __str__(self) -> str:
        return ",".join(map(str, astuple(self)))


SHAPES = (
    Shape(30, 1, 1, 32),
    Shape(100, 1, 64, 64),
    Shape(100, 16, 64, 64),
    Shape(100, 32, 128, 256),
    Shape(100, 64, 256, 512),
    Shape(50, 64, 512, 1024),
    Shape(500, 32, 128, 256),
)
"""From what costs calls to what costs products."""

QUICK_SHAPES = (Shape(30, 1, 1, 32), Shape(100, 16, 64, 64), Shape(100, 32, 128, 256))

PARTS = {"projection": 0.5, "context": 0.25, "readout": 0.5, "rank": 0.25, "key": 0.25}
"""Dimensions besides features and hidden, as parts of hidden; one that is not here is as large as hidden."""

COUNTS = {"heads": 4}
"""Dimensions whose size does not grow with hidden."""


@dataclass(frozen=True)
class Dimensions:
    """The dimensions of a cell: those free to choose, those that constants fix, and those made of others."""

    free: Dims
    fixed: tuple[tuple[str, int], ...] = ()
    derived: tuple[tuple[str, Dims], ...] = ()

    def sizes(self, shape: Shape, chosen: Mapping[str, int]) -> dict[str, int]:
        """The size of every dimension at a shape; ``chosen`` are sizes that a user asked for by name."""
        found = {dim: chosen.get(dim, _size(dim, shape)) for dim in self.free} | dict(self.fixed)
        for dim, parts in self.derived:
            found[dim] = math.prod(found[part] for part in parts)
        return found


def _size(dim: str, shape: Shape) -> int:
    if dim == "features":
        return shape.features
    return COUNTS.get(dim) or max(1, round(PARTS.get(dim, 1.0) * shape.hidden))
