"""How lines meet a node: from the left, side by side where they are several, or from above and below where it is free.

A circle has a line from each side first. A box or an oval is as high as the lines into its left side ask for, and so is
the bar that joins lines: each reaches it at a place of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from lstmgen.derivation.network import Kind

PORT = 9.0
"""How far lines into one side stand apart."""
ROUND = (Kind.PRODUCT, Kind.SUM)
_CIRCLE_PORT = 7.0


class Side(IntEnum):
    """The side of a node that a line comes to."""

    ABOVE = -1
    LEFT = 0
    BELOW = 1


@dataclass(frozen=True)
class Entry:
    """A line comes to ``side`` of a node along the height ``level``."""

    side: Side
    level: float


@dataclass(frozen=True)
class Source:
    """What a line into a node comes from, and at what height; ``outside`` if it is an input below the picture."""

    key: str
    height: float
    outside: bool = False


Straight = Callable[[Source, Side], bool]
"""Whether a line can run to the middle of the node at its own height, and then up or down to it."""
Hooked = Callable[[Source, Side], float | None]
"""The height along which a line can go around the node's corner to that side; None if it cannot."""


def entries(
    kind: Kind, height: float, sources: Sequence[Source], straight: Straight, hooked: Hooked
) -> dict[str, Entry]:
    """The ways into a node at ``height``, by source."""
    ordered = sorted(sources, key=lambda source: source.height)
    if kind is Kind.NEXT:
        return {each.key: Entry(Side.LEFT, height) for each in ordered}
    found: dict[str, Entry] = {}
    for side, candidates in ((Side.ABOVE, ordered), (Side.BELOW, ordered[::-1])):
        for each in candidates:
            fits = (each.height - height) * side > 0 and (len(ordered) > 1 or each.outside)
            if fits and each.key not in found and straight(each, side):
                found[each.key] = Entry(side, each.height)
                break
    rest = [each for each in ordered if each.key not in found]
    if kind in ROUND:
        found |= _around(height, rest, {entry.side for entry in found.values()}, hooked)
        rest = [each for each in rest if each.key not in found]
    return found | _ports(_CIRCLE_PORT if kind in ROUND else PORT, height, rest)


def _around(height: float, sources: Sequence[Source], taken: set[Side], hooked: Hooked) -> dict[str, Entry]:
    """Lines that go around to a free side, so that one alone comes from the left: the nearest."""
    found: dict[str, Entry] = {}
    for each in sorted(sources, key=lambda source: abs(source.height - height))[1:]:
        side = Side.ABOVE if each.height < height else Side.BELOW
        level = None if side in taken else hooked(each, side)
        if level is not None:
            taken = taken | {side}
            found[each.key] = Entry(side, level)
    return found


def _ports(apart: float, height: float, sources: Sequence[Source]) -> dict[str, Entry]:
    """Places on the left side, in the order of the heights that lines come from; one at the middle if it is level."""
    level = [index for index, each in enumerate(sources) if each.height == height]
    middle = level[0] if level else (len(sources) - 1) / 2
    return {each.key: Entry(Side.LEFT, height + apart * (index - middle)) for index, each in enumerate(sources)}
