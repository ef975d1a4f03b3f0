"""One line below a picture that says what its colours and signs mean, in more lines where the picture is narrow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lstmgen.derivation.drawing import Anchor, Box, Disc, Label, Point, Role, Shape
from lstmgen.derivation.lettering import SIZES, width
from lstmgen.derivation.network import Kind
from lstmgen.derivation.picture import signs
from lstmgen.derivation.picture.labels import FORK
from lstmgen.derivation.picture.layout import BAR, LETTERS, MARGIN, Layout

_ROW, _SAMPLE, _BETWEEN, _BASE = 17.0, 16.0, 12.0, 3.6
_SIZE = LETTERS * SIZES[Role.LEGEND]


@dataclass(frozen=True)
class _Entry:
    """Words, after a sample of what they explain: a role, or the word for a mark at arrows."""

    words: str
    sample: Role | None = None
    bar: bool = False

    @property
    def width(self) -> float:
        return (_SAMPLE + 5 if self.sample else 0.0) + width(self.words, _SIZE)


def legend(layout: Layout) -> tuple[tuple[Shape, ...], float, float]:
    """The shapes of the legend, below the picture; how wide the whole is with it, and how high."""
    shapes: list[Shape] = []
    widest = layout.width
    x, y = MARGIN, layout.height + _ROW / 2
    for entry in _entries(layout):
        if x > MARGIN and x + entry.width > layout.width - MARGIN:
            x, y = MARGIN, y + _ROW
        shapes += _shapes(entry, (x, y))
        x += entry.width + _BETWEEN
        widest = max(widest, x - _BETWEEN + MARGIN)
    return tuple(shapes), widest, y + _ROW / 2 + MARGIN / 2


def _entries(layout: Layout) -> Iterator[_Entry]:
    kinds = {node.kind for node in layout.network.nodes}
    if Kind.GATE in kinds:
        yield _Entry("with parameters", Role.GATE)
    if kinds & {Kind.FUNCTION, Kind.PRODUCT, Kind.SUM}:
        yield _Entry("without", Role.OPERATION)
    yield _Entry("in and out", Role.END)
    if layout.forks:
        yield _Entry("a line parts", Role.FORK)
    if Kind.JUNCTION in kinds:
        yield _Entry("lines are joined", Role.FORK, bar=True)
    if any(edge.mark == signs.TIMES for edge in layout.network.edges):
        yield _Entry("× at an arrow: elementwise weights")


def _shapes(entry: _Entry, at: Point) -> Iterator[Shape]:
    x, y = at
    middle = (x + _SAMPLE / 2, y)
    if entry.bar:
        yield Box(middle, BAR, 11.0, Role.FORK)
    elif entry.sample is Role.FORK:
        yield Disc(middle, FORK, Role.FORK)
    elif entry.sample is not None:
        yield Box(middle, _SAMPLE, 11.0, entry.sample, 2.0 if entry.sample is Role.GATE else 5.5)
    start = x + _SAMPLE + 5 if entry.sample else x
    yield Label(entry.words, (start, y + _BASE), Role.LEGEND, Anchor.START)
