"""Network in, ranks out: which nodes stand above one another, and the lines that pass between them.

Time runs from left to right. A node's rank is the longest path to it from what comes in; a line that passes a rank has
a slot in it like a node. A state's line is the most direct way from its previous value to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count, pairwise

from lstmgen.derivation.network import Kind, Network

_STRAIGHT = {Kind.PRODUCT: 1, Kind.SUM: 1, Kind.NEXT: 1, Kind.FUNCTION: 3, Kind.JUNCTION: 5, Kind.GATE: 10}
"""What a step through a node costs a state's line: gates are detours."""
_NONE = 1000


@dataclass(frozen=True)
class Slot:
    """A place in a rank: a node, or a line of the source ``net`` that passes."""

    key: str
    net: str
    kind: Kind | None
    lane: int | None = None


@dataclass(frozen=True)
class Ranks:
    """Slots by rank, in order; ``links`` lead from slots to slots of the next rank, inputs coming from outside."""

    ranks: tuple[tuple[Slot, ...], ...]
    links: tuple[tuple[str, str], ...]

    def ordered(self, ranks: Iterable[Sequence[Slot]]) -> Ranks:
        return replace(self, ranks=tuple(map(tuple, ranks)))


def neighbours(ranks: Ranks) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for a, b in ranks.links:
        before.setdefault(b, []).append(a)
        after.setdefault(a, []).append(b)
    return before, after


def ranked(network: Network) -> Ranks:
    depth = _depths(network)
    paths = lanes(network)
    kinds = {node.key: node.kind for node in network.nodes}
    along = {(a, b): lane for lane, path in enumerate(paths) for a, b in pairwise(path)}
    ends = {path[-1]: lane for lane, path in enumerate(paths) if len(path) == 2}
    inner = {node.key for node in network.nodes if node.kind not in (Kind.INPUT, Kind.PREVIOUS)}
    lane_of = {key: lane for lane, path in enumerate(paths) for key in path}
    last = max(depth.values())
    slots: list[dict[str, Slot]] = [{} for _ in range(last + 1)]
    for node in network.nodes:
        if node.kind not in (Kind.INPUT, Kind.OUTPUT):
            slots[depth[node.key]][node.key] = Slot(node.key, node.key, node.kind, lane_of.get(node.key))
    links: dict[tuple[str, str], None] = {}
    for edge in network.edges:
        if kinds[edge.target] is Kind.OUTPUT:
            continue
        lane = along.get((edge.source, edge.target), ends.get(edge.target) if edge.source in inner else None)
        before = edge.source
        for rank in range(depth[edge.source] + 1, depth[edge.target]):
            key = f"{edge.source}@{rank}"
            known = slots[rank].get(key)
            if known is None or known.lane is None:
                slots[rank][key] = Slot(key, edge.source, None, lane)
            links.setdefault((before, key))
            before = key
        links.setdefault((before, edge.target))
    return Ranks(tuple(tuple(each.values()) for each in slots), tuple(links))


def _depths(network: Network) -> dict[str, int]:
    """Ranks: previous states first, next states last, an input just before what reads it first."""
    sources: dict[str, list[str]] = {node.key: [] for node in network.nodes}
    targets: dict[str, list[str]] = {node.key: [] for node in network.nodes}
    for edge in network.edges:
        sources[edge.target].append(edge.source)
        targets[edge.source].append(edge.target)
    kinds = {node.key: node.kind for node in network.nodes}
    depth: dict[str, int] = {}

    def visit(key: str) -> int:
        if key not in depth:
            depth[key] = max((visit(each) + 1 for each in sources[key]), default=0)
        return depth[key]

    for key in sources:
        visit(key)
    inner = [key for key in depth if kinds[key] not in (Kind.NEXT, Kind.OUTPUT)]
    last = max(depth[key] for key in inner) + 1
    for key, kind in kinds.items():
        if kind is Kind.NEXT:
            depth[key] = last
    for key in sorted(inner, key=lambda key: -depth[key]):
        # What reads fewer lines than it writes stands close to its readers, and so does what reads inputs alone.
        ahead = [depth[each] for each in targets[key] if kinds[each] is not Kind.OUTPUT]
        outside = all(kinds[each] is Kind.INPUT for each in sources[key])
        if ahead and kinds[key] is not Kind.PREVIOUS and outside:
            depth[key] = min(ahead) - 1
    return depth


def lanes(network: Network) -> list[tuple[str, ...]]:
    """For each state the most direct way from its previous value to the next: what is drawn as a straight line.

    The most direct of all comes first, such as a cell state's: nothing may take it from there. A state whose way others
    have taken comes in and goes out at one height all the same.
    """
    kinds = {node.key: node.kind for node in network.nodes}
    goals = {}
    for node in network.nodes:
        goal = f"{node.key.removesuffix('_prev')}_next"
        if node.kind is Kind.PREVIOUS and kinds.get(goal) is Kind.NEXT:
            goals[node.key] = goal

    def directness(at: int, start: str) -> tuple[int, int]:
        cost, path = _way(network, kinds, start, goals[start], set())
        joined = any(kinds[key] is Kind.JUNCTION for key in path)  # read with others, it is no line of its own
        return (_NONE, at) if joined else (cost, -at)

    taken: set[str] = set()
    found = []
    for _, start in sorted((directness(at, start), start) for at, start in enumerate(goals)):
        _, path = _way(network, kinds, start, goals[start], taken)
        taken |= set(path)
        found.append(path)
    return found


def _way(
    network: Network, kinds: Mapping[str, Kind], start: str, goal: str, taken: set[str]
) -> tuple[int, tuple[str, ...]]:
    """What the most direct way costs, and its nodes: its ends alone where there is none."""
    order = count()
    queue: list[tuple[int, int, tuple[str, ...]]] = [(0, next(order), (start,))]
    seen: set[str] = set()
    while queue:
        cost, _, path = heappop(queue)
        if path[-1] == goal:
            return cost, path
        if path[-1] in seen:
            continue
        seen.add(path[-1])
        for edge in network.edges:
            if edge.source == path[-1] and edge.target not in taken and edge.target not in seen:
                step = _STRAIGHT.get(kinds[edge.target], _NONE)
                heappush(queue, (cost + step, next(order), (*path, edge.target)))
    return _NONE, (start, goal)
