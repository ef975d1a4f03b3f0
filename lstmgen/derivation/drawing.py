"""A drawing as shapes, each with a role: what is drawn and where, before any format gives it a look.

Places are pairs of numbers, to the right and downwards from the upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import hypot

from lstmgen.derivation.formula import Formula

Point = tuple[float, float]


class Role(StrEnum):
    """What a shape is; a format gives each role its colours and its letters."""

    # In the picture of a network.
    WIRE = "wire"  # the way of a value from node to node
    HEAD = "head"  # the head of an arrow
    FORK = "fork"  # where a wire parts, or several are joined
    GATE = "gate"
    OPERATION = "operation"  # a node without parameters
    END = "end"  # where values come in, or leave
    SIGN = "sign"  # what stands in a node
    NAME = "name"  # of the quantity that a node yields
    MARK = "mark"  # beside the head of an arrow
    LEGEND = "legend"  # what colours and signs mean
    # In a plot.
    GRID = "grid"
    TITLE = "title"
    AXIS = "axis"  # what an axis shows, and its numbers
    CURVE_1 = "curve-1"
    CURVE_2 = "curve-2"
    CURVE_3 = "curve-3"
    CURVE_4 = "curve-4"
    REFERENCE = "reference"  # a curve that others are compared with


CURVES = (Role.CURVE_1, Role.CURVE_2, Role.CURVE_3, Role.CURVE_4)
"""The roles of curves that are told from each other, in order."""


class Anchor(StrEnum):
    """Which part of a label stands at its place."""

    START = "start"
    MIDDLE = "middle"
    END = "end"


@dataclass(frozen=True)
class Bend:
    """A rounded corner of a line: the curve begins at ``start``, heads for ``corner``, and ends at ``end``."""

    start: Point
    corner: Point
    end: Point


@dataclass(frozen=True)
class Line:
    """A line through points, with bends of ``radius`` where that leaves the pieces between them straight."""

    points: tuple[Point, ...]
    role: Role
    radius: float = 0.0

    @property
    def bends(self) -> tuple[Bend, ...]:
        """The bends at all inner points, for a line that has them rounded."""
        return tuple(
            Bend(_towards(corner, before, near), corner, _towards(corner, after, near))
            for before, corner, after in zip(self.points, self.points[1:], self.points[2:], strict=False)
            for near in [min(self.radius, _distance(before, corner) / 2, _distance(corner, after) / 2)]
        )


@dataclass(frozen=True)
class Box:
    """A rectangle around ``centre`` whose corners are rounded by ``corner``."""

    centre: Point
    width: float
    height: float
    role: Role
    corner: float = 0.0


@dataclass(frozen=True)
class Disc:
    """A filled circle."""

    centre: Point
    radius: float
    role: Role


@dataclass(frozen=True)
class Polygon:
    """A filled polygon."""

    points: tuple[Point, ...]
    role: Role


@dataclass(frozen=True)
class Label:
    """Words, or a formula, whose base line begins at ``at``, ends there or has its middle there.

    One that is ``rising`` is turned: it reads upwards.
    """

    content: Formula | str
    at: Point
    role: Role
    anchor: Anchor = Anchor.MIDDLE
    rising: bool = False


Shape = Line | Box | Disc | Polygon | Label


@dataclass(frozen=True)
class Drawing:
    """Shapes, each drawn over those before it; ``letters`` is the height of letters, in the unit of all places."""

    width: float
    height: float
    letters: float
    shapes: tuple[Shape, ...]


def _distance(a: Point, b: Point) -> float:
    return hypot(b[0] - a[0], b[1] - a[1])


def _towards(start: Point, goal: Point, far: float) -> Point:
    length = _distance(start, goal) or 1.0
    return start[0] + (goal[0] - start[0]) * far / length, start[1] + (goal[1] - start[1]) * far / length
