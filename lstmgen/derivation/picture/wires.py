"""Lines of one source as a tree: where they part, and the pieces between, each of which is drawn once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
Segment = tuple[Point, Point]


@dataclass(frozen=True)
class Wire:
    """A line from one node to another with its bends, and the mark at its end."""

    source: str
    target: str
    points: tuple[Point, ...]
    mark: str = ""


def forks(wires: Sequence[Wire]) -> tuple[Point, ...]:
    """The points where a source's lines leave in three directions or more."""
    by_source: dict[str, list[Segment]] = {}
    for wire in wires:
        by_source.setdefault(wire.source, []).extend(pairwise(wire.points))
    found: dict[Point, None] = {}
    for segments in by_source.values():
        for point in dict.fromkeys(end for segment in segments for end in segment):
            directions = {sign for segment in segments for sign in _leaving(point, segment)}
            if len(directions) > 2:
                found.setdefault(point)
    return tuple(found)


def pieces(wires: Sequence[Wire]) -> tuple[tuple[Point, ...], ...]:
    """The lines between forks: what lines of a source have in common is one piece, and branches leave it straight."""
    found: dict[tuple[str, tuple[Point, ...]], None] = {}
    for source in dict.fromkeys(wire.source for wire in wires):
        own = [wire for wire in wires if wire.source == source]
        parts = forks(own)
        for wire in own:
            found |= {(source, piece): None for piece in _parted(wire.points, parts)}
    return tuple(piece for _, piece in found)


def _parted(points: Sequence[Point], at: Sequence[Point]) -> Iterator[tuple[Point, ...]]:
    """A line cut at points that it goes through."""
    piece = [points[0]]
    for start, end in pairwise(points):
        between = [point for point in at if point != start and _leaving(point, (start, end))]
        for point in sorted(between, key=lambda each: abs(each[0] - start[0]) + abs(each[1] - start[1])):
            yield (*piece, point)
            piece = [point]
        if piece[-1] != end:
            piece.append(end)
    if len(piece) > 1:
        yield tuple(piece)


def _leaving(point: Point, segment: Segment) -> list[tuple[int, int]]:
    """The directions in which a segment leaves a point that it holds."""
    (x, y), ((a, b), (c, d)) = point, segment
    if not (min(a, c) <= x <= max(a, c) and min(b, d) <= y <= max(b, d)):
        return []
    return [_sign(u - x, v - y) for u, v in segment if (u, v) != point]


def _sign(x: float, y: float) -> tuple[int, int]:
    return (x > 0) - (x < 0), (y > 0) - (y < 0)
