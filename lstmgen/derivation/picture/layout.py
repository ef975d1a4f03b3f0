"""Network in, places out: time runs from left to right, inputs come in from below, outputs leave at the top.

Lines run along rows and turn in the channels between ranks, or right at a circle, a junction or a box that they reach
from above or below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lstmgen.derivation.drawing import Role
from lstmgen.derivation.formula import Formula
from lstmgen.derivation.lettering import SIZES, width
from lstmgen.derivation.network import Edge, Kind, Network, Node
from lstmgen.derivation.picture.entries import ROUND, Entry, Side, Source, entries
from lstmgen.derivation.picture.heights import heights
from lstmgen.derivation.picture.ordering import arranged
from lstmgen.derivation.picture.ranks import Ranks, ranked
from lstmgen.derivation.picture.tracks import Turn, tracks
from lstmgen.derivation.picture.wires import Point, Wire, forks

ROW, TRACK, GAP, MARGIN = 60.0, 9.0, 14.0, 6.0
LETTERS = 15.0  # the height of letters, in the unit of all places
HOOKS = (26.0, 21.0)  # how far from the middle of a circle a line turns that goes around to its upper or lower side
CIRCLE, BAR = 24.0, 4.0  # how wide circles are, and the bars that join lines
BEFORE_NAME, AFTER_NAME, HEAD = 4.0, 6.0, 7.0
_LEAST = {Kind.GATE: 40.0, Kind.FUNCTION: 40.0}


@dataclass(frozen=True)
class Placed:
    """A node with its centre and size."""

    node: Node
    x: float
    y: float
    width: float
    height: float


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


def size_of(node: Node, reach: float = 0.0) -> tuple[float, float]:
    """Width and height of a node; ``reach`` is how far from its middle lines come to its left side."""
    if node.kind in ROUND:
        return CIRCLE, CIRCLE
    if node.kind is Kind.JUNCTION:
        return BAR, max(2 * reach, 6.0) + 8
    return max(_LEAST.get(node.kind, 34.0), width(node.sign, LETTERS) + 16), max(30.0, 2 * reach + 18)


def name_width(name: Formula) -> float:
    """How wide the name of a quantity is beside its node."""
    return width(name, LETTERS * SIZES[Role.NAME])


def mark_width(mark: str) -> float:
    """How wide a mark is."""
    return width(mark, LETTERS * SIZES[Role.MARK])


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
        self.entries: dict[tuple[str, str], Entry] = {}
        self.upright: dict[int, list[tuple[float, float]]] = {}  # by rank, what lines take of the column's middle
        for target in self.sources:
            self._enter(target)
        self._place()

    def _enter(self, target: str) -> None:
        """How the lines into a slot come to it."""
        height = self.y[target]
        found = {source: Entry(Side.LEFT, height) for source in self.sources[target]}
        if target in self.nodes:
            sources = [Source(key, self.y[key], key in self.inputs) for key in self.sources[target]]
            found = entries(
                self.nodes[target].kind,
                height,
                sources,
                lambda source, _: self._straight(source.key, target),
                lambda source, side: self._hooked(source.key, target, side),
            )
        self.entries |= {(source, target): entry for source, entry in found.items()}
        ways = [sorted((entry.level, height)) for entry in found.values() if entry.side is not Side.LEFT]
        self.upright.setdefault(self.rank[target], []).extend((low, high) for low, high in ways)

    def _taken(self, target: str, level: float) -> bool:
        """Whether another line is upright in the column between a height and ``target``."""
        low, high = sorted((level, self.y[target]))
        return any(low < bottom + 4 and top - 4 < high for top, bottom in self.upright.get(self.rank[target], ()))

    def _straight(self, source: str, target: str) -> bool:
        """Whether a line can run along the column of ``target`` from the height of ``source``."""
        if source in self.inputs and not self._alone(source, self.rank[target]):
            return False
        level, net = self.y[source], source.partition("@")[0]
        low, high = sorted((level, self.y[target]))
        if self._taken(target, level):
            return False
        for slot in self.ranks.ranks[self.rank[target]]:
            if slot.key == target or slot.net == net:
                continue
            if slot.key in self.nodes and low - 21 < self.y[slot.key] < high + 21:
                return False
            if abs(self.y[slot.key] - level) < 8:  # it may cross others, not run along them
                return False
        return all(self.y[source] != self.y[other] or other == source for other in self.sources[target])

    def _alone(self, source: str, rank: int) -> bool:
        """Whether an input has one reader, and no other input comes in close by."""
        near = {each for each, target in self.ranks.links if each in self.inputs and abs(self.rank[target] - rank) < 2}
        return len(self.targets[source]) == 1 and near == {source}

    def _hooked(self, source: str, target: str, side: Side) -> float | None:
        """The height at which a line can turn above ``target``, or below it: where it passes by, or close to it."""
        rank, height = self.ranks.ranks[self.rank[target]], self.y[target]
        beyond = [slot for slot in rank if (self.y[slot.key] - height) * side > 0]
        nearest = min(beyond, key=lambda slot: abs(self.y[slot.key] - height), default=None)
        if nearest is not None and nearest.net == source.partition("@")[0] and nearest.key not in self.nodes:
            return None if self._taken(target, self.y[nearest.key]) else self.y[nearest.key]
        for level in (height + side * far for far in HOOKS):
            room = [abs(self.y[slot.key] - level) - (21.0 if slot.key in self.nodes else 8.0) for slot in beyond]
            if min(room, default=1.0) > 0 and not self._taken(target, level):
                return level
        return None

    def _size(self, key: str) -> tuple[float, float]:
        """Width and height of a node with all lines into it."""
        ways = [self.entries[(source, key)] for source in self.sources.get(key, ())]
        reach = max((abs(way.level - self.y[key]) for way in ways if way.side is Side.LEFT), default=0.0)
        return size_of(self.nodes[key], reach)

    def _place(self) -> None:
        """Columns and tracks, from left to right."""
        self.x: dict[int, float] = {}
        self.track: dict[tuple[int, str], float] = {}
        at = MARGIN
        for index, row in enumerate(self.ranks.ranks):
            here = [slot.key for slot in row if slot.key in self.nodes]
            wide = max((self._size(key)[0] for key in here), default=0.0)
            self.x[index] = at + wide / 2
            at += wide
            turns = tracks(self._turns(index))
            ends = [turn.net in self.inputs or any(turn.net == source for source, _ in self.outputs) for turn in turns]
            step = TRACK if sum(ends) < 2 else self.apart
            named = [(self._size(key)[0], name) for key in here if (name := self.nodes[key].name) is not None]
            # Names stand right of their nodes: lines turn, and part, behind them.
            behind = [self.x[index] + wide / 2 + BEFORE_NAME + name_width(name) + AFTER_NAME for wide, name in named]
            at = max(at + GAP, *behind) if turns and behind else at + GAP
            for number, turn in enumerate(turns):
                self.track[(index, turn.net)] = at + step * number
            at += step * max(len(turns) - 1, 0)
            end = at if turns else max(behind, default=at) + HEAD
            at = max(at + self._room_before(index + 1), end)
        self.width = at

    def _room_before(self, rank: int) -> float:
        """What the heads of arrows into a rank need, with their marks."""
        marks = [
            edge.mark
            for edge in self.network.edges
            if edge.mark
            and self.rank.get(edge.target) == rank
            and self.entries[(self._chain(edge)[-2], edge.target)].side is Side.LEFT
        ]
        return max((mark_width(mark) + HEAD + 6 for mark in marks), default=GAP)

    def _turns(self, channel: int) -> list[Turn]:
        ends: dict[str, list[float]] = {}
        starts: dict[str, float] = {}
        for source, target in self.ranks.links:
            if self.rank[target] != channel + 1:
                continue
            net = source.partition("@")[0]
            starts[net] = self.y[source]
            ends.setdefault(net, []).append(self.entries[(source, target)].level)
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
            places.append(Placed(node, x, y, *self._size(node.key)))
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
            points.append((self.x[self.rank[edge.source]] + self._size(edge.source)[0] / 2, self.y[edge.source]))
        for before, after in pairwise(chain):
            entry = self.entries[(before, after)]
            if entry.level != self.y[before]:
                x = self.track[(self.rank[after] - 1, edge.source)]
                points += [(x, self.y[before]), (x, entry.level)]
            if after == edge.target:
                points += self._end(edge.target, entry)
        if target.kind is Kind.OUTPUT:
            x = self.track[(self.rank[edge.source], edge.source)]
            points += [(x, self.y[edge.source]), (x, self.top)]
        return Wire(edge.source, edge.target, tuple(points), edge.mark)

    def _end(self, target: str, entry: Entry) -> list[Point]:
        """Where a line meets the outline of a node."""
        x, y = self.x[self.rank[target]], self.y[target]
        wide, tall = self._size(target)
        if entry.side is not Side.LEFT:
            return [(x, entry.level), (x, y + entry.side * tall / 2)]
        left, aside = x - wide / 2, abs(entry.level - y)
        if self.nodes[target].kind in (*ROUND, Kind.FUNCTION):  # its left end is half a circle
            left += tall / 2 - ((tall / 2) ** 2 - aside**2) ** 0.5
        return [(left, entry.level)]

    def _chain(self, edge: Edge) -> list[str]:
        """The slots that an edge's line goes through."""
        if self.nodes[edge.target].kind is Kind.OUTPUT:
            return [edge.source]
        last = self.rank[edge.target]
        passed = [f"{edge.source}@{rank}" for rank in range(last)]
        return [edge.source, *(key for key in passed if key in self.rank), edge.target]
