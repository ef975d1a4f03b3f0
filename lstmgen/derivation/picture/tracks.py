"""Channels between ranks: each line that turns there has a track of its own, in an order that crosses little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations


@dataclass(frozen=True)
class Turn:
    """What one source's line does in one channel: where it comes from, and where it goes to."""

    net: str
    start: float  # the height it comes in at
    ends: tuple[float, ...]

    @property
    def extent(self) -> tuple[float, float]:
        """The heights its vertical part goes through."""
        return min(self.start, *self.ends), max(self.start, *self.ends)

    @property
    def straight(self) -> bool:
        """Whether it needs no track."""
        return self.extent[0] == self.extent[1]


def tracks(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns of a channel from left to right, so that they cross little and never run into each other."""
    bent = [turn for turn in turns if not turn.straight]
    if len(bent) <= 6:
        return min(permutations(bent), key=_clashes, default=())
    chosen: tuple[Turn, ...] = ()
    for turn in bent:
        chosen = min(((*chosen[:k], turn, *chosen[k:]) for k in range(len(chosen) + 1)), key=_clashes)
    return chosen


def _clashes(order: Sequence[Turn]) -> int:
    total = 0
    for index, right in enumerate(order):
        for left in order[:index]:
            low, high = left.extent
            total += low < right.start < high
            low, high = right.extent
            total += sum(low < end < high for end in left.ends)
            total += 20 * sum(abs(end - right.start) < 4 for end in left.ends)
    return total
