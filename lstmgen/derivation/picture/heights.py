"""How high slots stand: near their neighbours, in order, and all of a state's line at one height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from lstmgen.derivation.network import Kind
from lstmgen.derivation.picture.ranks import Ranks, Slot, neighbours


def heights(ranks: Ranks) -> dict[str, float]:
    """A height in rows for every slot: near its neighbours, in order, and one height for all of a state's line.

    Each rank in turn is the best fit to its neighbours that keeps the order (by pooling adjacent violators).
    """
    before, after = neighbours(ranks)
    crowded = _crowded(ranks)
    height = {slot.key: float(index) for row in ranks.ranks for index, slot in enumerate(row)}
    members: dict[int, list[str]] = {}
    for row in ranks.ranks:
        for slot in row:
            if slot.lane is not None:
                members.setdefault(slot.lane, []).append(slot.key)
    gaps = _gaps(ranks)
    for sweep in range(60):
        lanes = _apart({lane: sum(height[key] for key in keys) / len(keys) for lane, keys in members.items()}, gaps)
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
            offsets = _offsets(row, crowded)
            fitted = isotonic([w - o for w, o in zip(wanted, offsets, strict=True)], weights)
            for slot, value, offset in zip(row, fitted, offsets, strict=True):
                height[slot.key] = value + offset
    rounded = {}
    for row in ranks.ranks:
        for slot, offset in zip(row, _offsets(row, crowded), strict=True):
            rounded[slot.key] = round(2 * (height[slot.key] - offset) + 1e-6) / 2 + offset
    _straighten(ranks, rounded)
    _level(ranks, rounded)
    lowest = min(rounded.values())
    return {key: value - lowest for key, value in rounded.items()}


def _straighten(ranks: Ranks, height: dict[str, float]) -> None:
    """Levels the pieces of passing lines with those before them, and then after them, where there is room."""
    before, after = neighbours(ranks)
    crowded = _crowded(ranks)
    for rows, near in ((ranks.ranks, before), (ranks.ranks[::-1], after)):
        for row in rows:
            offsets = _offsets(row, crowded)
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


def _level(ranks: Ranks, height: dict[str, float]) -> None:
    """Moves nodes, and lines that pass several ranks as a whole, to where lines have fewer bends."""
    before, after = neighbours(ranks)
    crowded = _crowded(ranks)
    above: dict[str, tuple[str, float]] = {}
    below: dict[str, tuple[str, float]] = {}
    for row in ranks.ranks:
        offsets = _offsets(row, crowded)
        for at in range(len(row) - 1):
            apart = offsets[at + 1] - offsets[at]
            above[row[at + 1].key], below[row[at].key] = (row[at].key, apart), (row[at + 1].key, apart)
    slots = [slot for row in ranks.ranks for slot in row]
    nodes = {slot.key for slot in slots if slot.kind is not None}
    circles = {slot.key for slot in slots if slot.kind in (Kind.PRODUCT, Kind.SUM)}

    def cost(keys: Sequence[str]) -> float:
        near = dict.fromkeys((a, b) for key in keys for b in (key,) for a in before.get(key, ()))
        near |= dict.fromkeys((key, b) for key in keys for b in after.get(key, ()))
        total = 0.0
        for a, b in near:
            if a in height and height[a] != height[b]:
                passing = a not in nodes or b not in nodes
                total += (0.6 if b in circles else 1.0) + 0.1 * passing + 0.05 * abs(height[a] - height[b])
        for circle in dict.fromkeys(b for _, b in near if b in circles):  # one line from each side
            sides = [(height[a] > height[circle]) - (height[a] < height[circle]) for a in before[circle] if a in height]
            total += 0.8 * (len(sides) - len(set(sides)))
        return total

    def fits(keys: Sequence[str], to: float) -> bool:
        for key in keys:
            up, down = above.get(key), below.get(key)
            if up and up[0] not in keys and height[up[0]] + up[1] > to:
                return False
            if down and down[0] not in keys and height[down[0]] - down[1] < to:
                return False
        return True

    groups = [[slot.key] for slot in slots if slot.lane is None]
    for source in dict.fromkeys(slot.net for slot in slots if slot.key not in nodes and slot.lane is None):
        groups.append([slot.key for slot in slots if slot.net == source and slot.key not in nodes])
        groups.append([slot.key for slot in slots if slot.net == source and slot.lane is None])
    free = {slot.key for slot in slots if slot.lane is None}
    for slot in slots:  # a node with what comes of it alone
        chain = [slot.key]
        while chain[-1] in free and len(ahead := after.get(chain[-1], [])) == 1 and ahead[0] in free:
            chain.append(ahead[0])
        groups += [chain[:length] for length in range(2, len(chain) + 1)] if chain[0] in free else []
    for _ in range(8):
        moved = False
        for keys in groups:
            near = {height[e] for key in keys for e in (*before.get(key, ()), *after.get(key, ())) if e in height}
            was, least = [height[key] for key in keys], cost(keys)
            best = None
            for to in sorted(near | {value + step for value in near for step in (-0.5, 0.5)}):
                if not fits(keys, to):
                    continue
                height.update(dict.fromkeys(keys, to))
                found = cost(keys)
                height.update(zip(keys, was, strict=True))
                if found < least - 0.01:
                    best, least = to, found
            if best is not None:
                height.update(dict.fromkeys(keys, best))
                moved = True
        if not moved:
            return


def _pull(one: str, other: str) -> float:
    """How much a link wants to be level: most where it is a piece of a line that passes ranks."""
    return {0: 1.0, 1: 2.0, 2: 8.0}[("@" in one) + ("@" in other)]


def _gaps(ranks: Ranks) -> dict[tuple[int, int], float]:
    """How far the lines of two states have to stand apart, upper and lower, for what stands between them."""
    crowded = _crowded(ranks)
    gaps: dict[tuple[int, int], float] = {}
    for row in ranks.ranks:
        lanes = [
            (slot.lane, offset)
            for slot, offset in zip(row, _offsets(row, crowded), strict=True)
            if slot.lane is not None
        ]
        for (upper, high), (lower, low) in pairwise(lanes):
            gaps[(upper, lower)] = max(low - high, gaps.get((upper, lower), 0.0))
    return gaps


def _apart(lanes: dict[int, float], gaps: Mapping[tuple[int, int], float]) -> dict[int, float]:
    """The heights of states' lines, lower ones moved down as far as there is need."""
    for _ in lanes:
        for (upper, lower), gap in gaps.items():
            lanes[lower] = max(lanes[lower], lanes[upper] + gap)
    return lanes


def _crowded(ranks: Ranks) -> frozenset[str]:
    """Junctions of so many lines that they are as high as nodes."""
    before, _ = neighbours(ranks)
    return frozenset(key for key, sources in before.items() if len(sources) > 3)


def _offsets(row: Sequence[Slot], crowded: frozenset[str]) -> list[float]:
    """The least heights of a rank's slots: nodes a row apart, lines that pass half a row."""
    offsets = [0.0]
    for above, below in pairwise(row):
        thin = [each.kind in (None, Kind.JUNCTION) and each.key not in crowded for each in (above, below)]
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
