"""The order of slots within their ranks: by barycenters, so that lines cross little (Sugiyama, Tagawa & Toda, 1981)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

from lstmgen.derivation.picture.ranks import Ranks, Slot, neighbours


def arranged(ranks: Ranks) -> Ranks:
    """The ranks in good order; which states' lines stand above which is tried out, below the most direct of them.

    So a cell state is at the top, as everyone draws it.
    """
    lanes = sorted({slot.lane for rank in ranks.ranks for slot in rank if slot.lane is not None})
    arrangements = [(*lanes[:1], *rest) for rest in permutations(lanes[1:])] if len(lanes) <= 5 else [tuple(lanes)]
    return min((_ordered(ranks, each) for each in arrangements), key=crossings)


def _ordered(ranks: Ranks, lanes: Sequence[int]) -> Ranks:
    """Orders within ranks by barycenters, to and fro; the lines of states keep to the order ``lanes``."""
    place = {lane: index for index, lane in enumerate(lanes)}
    best = current = ranks.ordered(_in_lanes(rank, place) for rank in ranks.ranks)
    before, after = neighbours(ranks)
    least = crossings(best)
    for sweep in range(24):
        forth = sweep % 2 == 0
        rows = [list(rank) for rank in current.ranks]
        for index in range(len(rows)) if forth else range(len(rows) - 1, -1, -1):
            where = {slot.key: place_ for row in rows for place_, slot in _spread(row)}
            wanted = {}
            for at, slot in _spread(rows[index]):
                near = (before if forth else after).get(slot.key, []) or (after if forth else before).get(slot.key, [])
                values = [where.get(each, 1.3) for each in near]
                wanted[slot.key] = sum(values) / len(values) if values else at
            rows[index].sort(key=lambda slot: wanted[slot.key])
            rows[index] = list(_in_lanes(rows[index], place))
        current = current.ordered(rows)
        found = crossings(current)
        if found < least:
            best, least = current, found
    return _exchanged(best, place)


def _exchanged(ranks: Ranks, place: Mapping[int, int]) -> Ranks:
    """Neighbours in a rank exchanged while that takes crossings away."""
    least, better = crossings(ranks), True
    while better:
        better = False
        for index, rank in enumerate(ranks.ranks):
            for at in range(len(rank) - 1):
                row = [*rank[:at], rank[at + 1], rank[at], *rank[at + 2 :]]
                trial = ranks.ordered((*ranks.ranks[:index], _in_lanes(row, place), *ranks.ranks[index + 1 :]))
                if crossings(trial) < least:
                    ranks, least, better = trial, crossings(trial), True
                    break
    return ranks


def _spread(row: Sequence[Slot]) -> list[tuple[float, Slot]]:
    return [((index + 0.5) / len(row), slot) for index, slot in enumerate(row)]


def _in_lanes(row: Sequence[Slot], place: Mapping[int, int]) -> tuple[Slot, ...]:
    """The row with the slots of states' lines in the order of the lanes, each where one of them stood."""
    ordered = iter(sorted((s for s in row if s.lane is not None), key=lambda slot: place[slot.lane or 0]))
    return tuple(next(ordered) if slot.lane is not None else slot for slot in row)


def crossings(ranks: Ranks) -> int:
    """How often lines of different sources cross; an input comes from below all others."""
    where = {slot.key: (rank, index) for rank, row in enumerate(ranks.ranks) for index, slot in enumerate(row)}
    by_rank: dict[int, list[tuple[float, int, str]]] = {}
    for a, b in ranks.links:
        rank, at = where[b]
        by_rank.setdefault(rank, []).append((where[a][1] if a in where else 1e3, at, a))
    total = 0
    for links in by_rank.values():
        for index, (start, end, source) in enumerate(links):
            total += sum((start - a) * (end - b) < 0 and source != other for a, b, other in links[:index])
    return total
