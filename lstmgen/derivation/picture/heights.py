"""How high slots stand: near their neighbours, in order, and all of a state's line at one height."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from lstmgen.derivation.network import Kind
from lstmgen.derivation.picture.ranks import Ranks, Slot, neighbours


def heights(ranks: Ranks) -> dict[str, float]:
    """A height in rows for every slot: near its neighbours, in order, and one height for all of a state's line.

    Each rank in turn is the best fit to its neighbours that keeps the order (by pooling adjacent violators).
    """
    before, after = neighbours(ranks)
    height = {slot.key: float(index) for row in ranks.ranks for index, slot in enumerate(row)}
    members: dict[int, list[str]] = {}
    for row in ranks.ranks:
        for slot in row:
            if slot.lane is not None:
                members.setdefault(slot.lane, []).append(slot.key)
    for sweep in range(60):
        lanes = {lane: sum(height[key] for key in keys) / len(keys) for lane, keys in members.items()}
        rows = ranks.ranks if sweep % 2 == 0 else ranks.ranks[::-1]
        for row in rows:
            wanted, weights = [], []
            for slot in row:
                near = [each for each in (*before.get(slot.key, ()), *after.get(slot.key, ())) if each in height]
                pulls = [_pull(slot.key, each) for each in near]
                total = sum(pull * height[each] for pull, each in zip(pulls, near, strict=True))
                wanted.append(total / sum(pulls) if near else height[slot.key])
                weights.append(sum(pulls) or 1.0)
                if slot.lane is not None:
                    wanted[-1], weights[-1] = lanes[slot.lane], 1e4
            offsets = _offsets(row)
            fitted = isotonic([w - o for w, o in zip(wanted, offsets, strict=True)], weights)
            for slot, value, offset in zip(row, fitted, offsets, strict=True):
                height[slot.key] = value + offset
    rounded = {}
    for row in ranks.ranks:
        for slot, offset in zip(row, _offsets(row), strict=True):
            rounded[slot.key] = round(2 * (height[slot.key] - offset) + 1e-6) / 2 + offset
    _straighten(ranks, rounded)
    lowest = min(rounded.values())
    return {key: value - lowest for key, value in rounded.items()}


def _straighten(ranks: Ranks, height: dict[str, float]) -> None:
    """Levels the pieces of passing lines with those before them, and then after them, where there is room."""
    before, after = neighbours(ranks)
    for rows, near in ((ranks.ranks, before), (ranks.ranks[::-1], after)):
        for row in rows:
            offsets = _offsets(row)
            for index, slot in enumerate(row):
                beside = [height[each] for each in before.get(slot.key, ()) if each in height]
                level = [height[each] for each in near.get(slot.key, ()) if each in height]
                if slot.kind is not None or slot.lane is not None or not level or height[slot.key] in beside:
                    continue
                low, high = float("-inf"), float("inf")
                if index:
                    low = height[row[index - 1].key] + offsets[index] - offsets[index - 1]
                if index + 1 < len(row):
                    high = height[row[index + 1].key] - offsets[index + 1] + offsets[index]
                if low <= level[0] <= high:
                    height[slot.key] = level[0]


def _pull(one: str, other: str) -> float:
    """How much a link wants to be level: most where it is a piece of a line that passes ranks."""
    return {0: 1.0, 1: 2.0, 2: 8.0}[("@" in one) + ("@" in other)]


def _offsets(row: Sequence[Slot]) -> list[float]:
    """The least heights of a rank's slots: nodes a row apart, lines that pass half a row."""
    offsets = [0.0]
    for above, below in pairwise(row):
        thin = above.kind in (None, Kind.JUNCTION), below.kind in (None, Kind.JUNCTION)
        offsets.append(offsets[-1] + (0.5 if all(thin) else 1.0 if not any(thin) else 0.5))
    return offsets[: len(row)]


def isotonic(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The nondecreasing sequence closest to ``wanted`` in weighted squares."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, v, m), (b, w, n) = pools[-2:]
            pools[-2:] = [((a * v + b * w) / (v + w), v + w, m + n)]
    return [value for value, _, number in pools for _ in range(number)]
