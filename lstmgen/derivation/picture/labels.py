"""Where names and marks stand: beside their node or their arrow, at the first place where they meet nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lstmgen.derivation.drawing import Anchor, Label, Role
from lstmgen.derivation.lettering import SIZES, height, width
from lstmgen.derivation.picture.layout import BEFORE_NAME, HEAD, LETTERS, Layout, Placed
from lstmgen.derivation.picture.wires import Point, Wire

FORK = 2.6
"""The radius of the dots where lines part."""


@dataclass(frozen=True)
class Extent:
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Extent) -> bool:
        """Whether two rectangles overlap."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)


def extent(label: Label) -> Extent:
    """About what a label covers."""
    size = LETTERS * SIZES.get(label.role, 1.0)
    wide, (up, down) = width(label.content, size), height(label.content, size)
    x, y = label.at
    left = x - {Anchor.START: 0.0, Anchor.MIDDLE: 0.5, Anchor.END: 1.0}[label.anchor] * wide
    return Extent(left, y - up, left + wide, y + down)


def labels(layout: Layout) -> tuple[Label, ...]:
    """The names of all nodes that have one, and the marks of all arrows."""
    nodes = {placed.node.key: placed for placed in layout.nodes}
    taken = [*map(_outline, layout.nodes), *(e for wire in layout.wires for e in _lines(wire))]
    taken += [_around(fork, FORK, FORK) for fork in layout.forks]
    heads = [_head(wire) for wire in layout.wires]
    found: list[Label] = []
    marked = {(wire.source, wire.target): _marks(wire, nodes[wire.target]) for wire in layout.wires if wire.mark}
    named = [_names(placed) for placed in layout.nodes if placed.node.name is not None]
    for choices in (*named, *marked.values()):
        chosen = _first_free(tuple(choices), [*taken, *heads])
        found.append(chosen)
        taken.append(extent(chosen))
    return tuple(found)


def _first_free(choices: Sequence[Label], taken: Sequence[Extent]) -> Label:
    """The first of the choices that meets nothing; where each does, the one that meets least."""
    return min(choices, key=lambda label: sum(map(extent(label).meets, taken)))


def _names(placed: Placed) -> Iterator[Label]:
    """Over the line that leaves a node; if need be higher, or below it, or over the node."""
    x, y = placed.x + placed.width / 2 + BEFORE_NAME, placed.y
    assert placed.node.name is not None
    up, down = height(placed.node.name, LETTERS * SIZES[Role.NAME])
    for base in (y - 3 - down, y - 8 - down, y + 4 + up):
        yield Label(placed.node.name, (x, base), Role.NAME, Anchor.START)
    yield Label(placed.node.name, (placed.x, y - placed.height / 2 - 3 - down), Role.NAME)


def _marks(wire: Wire, target: Placed) -> Iterator[Label]:
    """Behind the head of an arrow, on the side that is away from the middle of its node first; if need be further."""
    (_, b), (x, y) = wire.points[-2:]
    wide = width(wire.mark, LETTERS * SIZES[Role.MARK])
    size = LETTERS * SIZES[Role.MARK]
    for further in (0.0, 4.0, 8.0):
        if b == y:
            middle = x - HEAD - 2 - wide / 2 - further
            above, below = (middle, y - 4), (middle, y + 3 + 0.62 * size)
            for at in (above, below) if y <= target.y else (below, above):
                yield Label(wire.mark, at, Role.MARK)
        else:
            base = y + 3 + 0.7 * size + further if b > y else y - 4 - further
            for at in ((x + 5 + wide / 2, base), (x - 5 - wide / 2, base)):
                yield Label(wire.mark, at, Role.MARK)


def _outline(placed: Placed) -> Extent:
    return _around((placed.x, placed.y), placed.width / 2, placed.height / 2)


def _lines(wire: Wire) -> Iterator[Extent]:
    for (x, y), (u, v) in pairwise(wire.points):
        yield Extent(min(x, u) - 1, min(y, v) - 1, max(x, u) + 1, max(y, v) + 1)


def _head(wire: Wire) -> Extent:
    (a, b), (x, y) = wire.points[-2:]
    dx, dy = (x > a) - (x < a), (y > b) - (y < b)
    return _around((x - dx * HEAD / 2, y - dy * HEAD / 2), HEAD / 2 if dx else 3.0, HEAD / 2 if dy else 3.0)


def _around(middle: Point, wide: float, high: float) -> Extent:
    (x, y) = middle
    return Extent(x - wide, y - high, x + wide, y + high)
