"""Network in, places out: time runs from left to right, inputs come in from below, outputs leave at the top.

Lines run along rows and turn in the channels between ranks, or right at a circle, a junction or a box that they reach
from above or below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lstmgen.derivation.formats.lettering import width
from lstmgen.derivation.network import Edge, Kind, Network, Node
from lstmgen.derivation.picture.heights import heights
from lstmgen.derivation.picture.ordering import arranged
from lstmgen.derivation.picture.ranks import Ranks, ranked
from lstmgen.derivation.picture.tracks import Turn, tracks

Point = tuple[float, float]
ROW, TRACK, GAP, PORT, MARGIN = 60.0, 9.0, 14.0, 9.0, 6.0
LETTERS = 15.0  # the height of letters, in the unit of all places
_LEAST = {Kind.GATE: 40.0, Kind.FUNCTION: 40.0, Kind.PRODUCT: 24.0, Kind.SUM: 24.0, Kind.JUNCTION: 6.0}
_ROUND = (Kind.PRODUCT, Kind.SUM, Kind.JUNCTION)
_HEIGHT = {**dict.fromkeys(_ROUND, 24.0), Kind.JUNCTION: 6.0}


@dataclass(frozen=True)
class Placed:
    """A node with its centre and size."""

    node: Node
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Wire:
    """A line from one node to another with its bends, and the mark at its end."""

    source: str
    target: str
    points: tuple[Point, ...]
    mark: str = ""


@dataclass(frozen=True)
class Layout:
    """A network with places. ``forks`` are the points where lines of one source part."""

    network: Network
    width: float
    height: float
    nodes: tuple[Placed, ...]
    wires: tuple[Wire, ...]
    forks: tuple[Point, ...]


def lay_out(network: Network) -> Layout:
    """Places for all nodes and lines."""
    ranks = arranged(ranked(network))
    return _Router(network, ranks, heights(ranks)).run()


def size_of(node: Node) -> tuple[float, float]:
    """Width and height of a node."""
    if node.kind in _ROUND:
        return _LEAST[node.kind], _HEIGHT[node.kind]
    least = _LEAST.get(node.kind, 34.0)
    return max(least, width(node.sign, LETTERS) + 16), _HEIGHT.get(node.kind, 30.0)


class _Router:
    """Places of columns, rows and tracks, and the lines between them."""

    def __init__(self, network: Network, ranks: Ranks, rows: dict[str, float]) -> None:
        self.network, self.ranks, self.rows = network, ranks, rows
        self.nodes = {node.key: node for node in network.nodes}
        self.rank = {slot.key: index for index, row in enumerate(ranks.ranks) for slot in row}
        self.inputs = [node.key for node in network.nodes if node.kind is Kind.INPUT]
        self.outputs = [
            (edge.source, edge.target) for edge in network.edges if self.nodes[edge.target].kind is Kind.OUTPUT
        ]
        self.y = {key: row * ROW for key, row in rows.items()}
        ends = [node for node in network.nodes if node.kind in (Kind.INPUT, Kind.OUTPUT)]
        self.apart = max(size_of(node)[0] for node in ends) + 6  # what keeps them from each other
        self.top = min(self.y.values()) - ROW
        self.bottom = max(self.y.values()) + ROW
        self.y |= dict.fromkeys(self.inputs, self.bottom)
        self.sources: dict[str, list[str]] = {}
        for source, target in ranks.links:
            self.sources.setdefault(target, []).append(source)
        self.targets: dict[str, list[str]] = {}
        for source, target in ranks.links:
            self.targets.setdefault(source, []).append(target)
        self.upright: dict[tuple[str, str], int] = {}  # links that reach their target from above (-1) or below (1)
        self.ports: dict[tuple[str, str], float] = {}
        for target in self.sources:
            self._enter(target)
        self._place()

    def _enter(self, target: str) -> None:
        """Where the lines into a node meet it."""
        sources = sorted(self.sources[target], key=lambda key: self.y[key])
        height = self.y[target]
        if target not in self.nodes or self.nodes[target].kind is Kind.NEXT:
            self.ports |= {(source, target): height for source in sources}
            return
        round_ = self.nodes[target].kind in _ROUND
        for side, candidates in ((-1, sources), (1, sources[::-1])):
            beyond = [each for each in candidates if (self.y[each] - height) * side > 0]
            if beyond and (round_ or beyond[0] in self.inputs) and self._free(beyond[0], target):
                self.upright[(beyond[0], target)] = side
        rest = [each for each in sources if (each, target) not in self.upright]
        level = [each for each in rest if self.y[each] == height]
        if self.nodes[target].kind is Kind.JUNCTION:
            self.ports |= {(each, target): height for each in rest}
            return
        gap = 6.0 if round_ else PORT
        if level:
            above = [each for each in rest if self.y[each] < height]
            below = [each for each in rest if self.y[each] > height]
            steps = [(each, -k) for k, each in enumerate(above[::-1], 1)] + [(each, 0) for each in level]
            steps += [(each, k) for k, each in enumerate(below, 1)]
            self.ports |= {(each, target): height + gap * step for each, step in steps}
            return
        for index, source in enumerate(rest):
            self.ports[(source, target)] = height + gap * (index - (len(rest) - 1) / 2)

    def _free(self, source: str, target: str) -> bool:
        """Whether a line can run along the column of ``target`` from the height of ``source``."""
        if source in self.inputs and (len(self.targets[source]) > 1 or len(self.inputs) > 1):
            return False
        low, high = sorted((self.y[source], self.y[target]))
        net = source.partition("@")[0]
        for slot in self.ranks.ranks[self.rank[target]]:
            if slot.key != target and slot.net != net and low - 1 <= self.y[slot.key] <= high + 1:
                return False
        return all(self.y[source] != self.y[other] or other == source for other in self.sources[target])

    def _place(self) -> None:
        """Columns and tracks, from left to right."""
        self.x: dict[int, float] = {}
        self.track: dict[tuple[int, str], float] = {}
        at = MARGIN
        for index, row in enumerate(self.ranks.ranks):
            widths = [size_of(self.nodes[slot.key])[0] for slot in row if slot.key in self.nodes]
            wide = max(widths, default=0.0)
            self.x[index] = at + wide / 2
            at += wide + GAP
            turns = tracks(self._turns(index))
            ends = [turn.net in self.inputs or any(turn.net == source for source, _ in self.outputs) for turn in turns]
            step = TRACK if sum(ends) < 2 else self.apart
            named = [self.nodes[slot.key].name for slot in row if slot.key in self.nodes]
            room = max((width(name, LETTERS) for name in named if name is not None), default=0.0)
            rising = {turn.net for turn in turns if min(turn.ends) < turn.start} - set(self.inputs)
            if any(slot.key in rising and self.nodes[slot.key].name for slot in row if slot.key in self.nodes):
                at += max(room - GAP + 4, 0.0)  # a line that rises must not run through its name
            for number, turn in enumerate(turns):
                self.track[(index, turn.net)] = at + step * number
            at += max(step * max(len(turns) - 1, 0), room - 2 * GAP + 8, 0.0) + GAP
        self.width = at - 2 * GAP + MARGIN

    def _turns(self, channel: int) -> list[Turn]:
        ends: dict[str, list[float]] = {}
        starts: dict[str, float] = {}
        for source, target in self.ranks.links:
            if self.rank[target] != channel + 1 or (source in self.inputs and (source, target) in self.upright):
                continue
            net = source.partition("@")[0]
            starts[net] = self.y[source]
            end = self.y[source] if (source, target) in self.upright else self.ports[(source, target)]
            ends.setdefault(net, []).append(end)
        for source, _ in self.outputs:
            if self.rank[source] == channel:
                starts[source] = self.y[source]
                ends.setdefault(source, []).append(self.top)
        return [Turn(net, starts[net], tuple(dict.fromkeys(each))) for net, each in ends.items()]

    def run(self) -> Layout:
        wires = tuple(self._wire(edge) for edge in self.network.edges)
        places = []
        for node in self.network.nodes:
            x, y = self._centre(node, wires)
            places.append(Placed(node, x, y, *size_of(node)))
        left = min(each.x - each.width / 2 for each in places) - MARGIN
        right = max(each.x + each.width / 2 for each in places) + MARGIN
        high = min(each.y - each.height / 2 for each in places) - MARGIN
        low = max(each.y + each.height / 2 for each in places) + MARGIN
        return Layout(
            self.network,
            right - left,
            low - high,
            tuple(Placed(p.node, p.x - left, p.y - high, p.width, p.height) for p in places),
            tuple(Wire(w.source, w.target, tuple((x - left, y - high) for x, y in w.points), w.mark) for w in wires),
            tuple((x - left, y - high) for x, y in forks(wires)),
        )

    def _centre(self, node: Node, wires: Sequence[Wire]) -> Point:
        if node.kind is Kind.INPUT:
            return next(wire.points[0] for wire in wires if wire.source == node.key)
        if node.kind is Kind.OUTPUT:
            return next(wire.points[-1] for wire in wires if wire.target == node.key)
        return self.x[self.rank[node.key]], self.y[node.key]

    def _wire(self, edge: Edge) -> Wire:
        """The line of an edge: along rows, with a turn in each channel where the row changes."""
        source, target = self.nodes[edge.source], self.nodes[edge.target]
        chain = self._chain(edge)
        points: list[Point] = []
        if source.kind is not Kind.INPUT:
            points.append((self.x[self.rank[edge.source]] + size_of(source)[0] / 2, self.y[edge.source]))
        for before, after in pairwise(chain):
            if (before, after) in self.upright:
                points += self._upright(before, after)
                break
            channel = self.rank[after] - 1
            height = self.ports[(before, after)]
            if height != self.y[before]:
                x = self.track[(channel, edge.source)]
                points += [(x, self.y[before]), (x, height)]
            if after == edge.target:
                wide, tall = size_of(target)
                part = min(abs(height - self.y[after]) / (tall / 2), 1.0) if target.kind in _ROUND else 0.0
                points.append((self.x[channel + 1] - wide / 2 * (1 - part**2) ** 0.5, height))
        if target.kind is Kind.OUTPUT:
            x = self.track[(self.rank[edge.source], edge.source)]
            points += [(x, self.y[edge.source]), (x, self.top)]
        return Wire(edge.source, edge.target, tuple(points), edge.mark)

    def _upright(self, before: str, after: str) -> list[Point]:
        x, side = self.x[self.rank[after]], self.upright[(before, after)]
        return [(x, self.y[before]), (x, self.y[after] + side * size_of(self.nodes[after])[1] / 2)]

    def _chain(self, edge: Edge) -> list[str]:
        """The slots that an edge's line goes through."""
        if self.nodes[edge.target].kind is Kind.OUTPUT:
            return [edge.source]
        last = self.rank[edge.target]
        passed = [f"{edge.source}@{rank}" for rank in range(last)]
        return [edge.source, *(key for key in passed if key in self.rank), edge.target]


def forks(wires: Sequence[Wire]) -> tuple[Point, ...]:
    """The points where a source's lines leave in three directions or more."""
    by_source: dict[str, list[tuple[Point, Point]]] = {}
    for wire in wires:
        by_source.setdefault(wire.source, []).extend(pairwise(wire.points))
    found: dict[Point, None] = {}
    for segments in by_source.values():
        for point in dict.fromkeys(end for segment in segments for end in segment):
            directions = {sign for segment in segments for sign in _leaving(point, segment)}
            if len(directions) > 2:
                found.setdefault(point)
    return tuple(found)


def _leaving(point: Point, segment: tuple[Point, Point]) -> list[tuple[int, int]]:
    """The directions in which a segment leaves a point that it holds."""
    (x, y), ((a, b), (c, d)) = point, segment
    if not (min(a, c) <= x <= max(a, c) and min(b, d) <= y <= max(b, d)):
        return []
    return [_sign(u - x, v - y) for u, v in segment if (u, v) != point]


def _sign(x: float, y: float) -> tuple[int, int]:
    return (x > 0) - (x < 0), (y > 0) - (y < 0)
