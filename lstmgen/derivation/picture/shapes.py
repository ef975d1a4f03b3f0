"""A layout as a drawing: boxes, circles and arrows, and what it shows in words."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot

from lstmgen.derivation.document import Inline
from lstmgen.derivation.drawing import Box, Disc, Drawing, Label, Line, Polygon, Role, Shape
from lstmgen.derivation.network import Kind, Network
from lstmgen.derivation.picture.entries import ROUND
from lstmgen.derivation.picture.labels import FORK, labels
from lstmgen.derivation.picture.layout import HEAD, LETTERS, Layout, Placed
from lstmgen.derivation.picture.legend import legend
from lstmgen.derivation.picture.wires import Wire, pieces

BEND, CORNER = 6.0, 3.0
STALK = 15.0  # what of a line an output covers: the line ends in its middle
_BASE, _AXIS = 5.0, 4.0  # from the middle of letters to their base line, and from that of operators
_ROLES = {Kind.GATE: Role.GATE} | dict.fromkeys((Kind.FUNCTION, Kind.PRODUCT, Kind.SUM), Role.OPERATION)


def drawn(layout: Layout) -> Drawing:
    """The picture of a network."""
    shapes: list[Shape] = [Line(piece, Role.WIRE, BEND) for piece in pieces(layout.wires)]
    shapes += [Disc(point, FORK, Role.FORK) for point in layout.forks]
    nodes = {placed.node.key: placed for placed in layout.nodes}
    shapes += [shape for wire in layout.wires for shape in _arrow(wire, nodes[wire.target])]
    shapes += [shape for placed in layout.nodes for shape in _node(placed)]
    explained, width, height = legend(layout)
    shapes += [*labels(layout), *explained]
    return Drawing(width, height, LETTERS, tuple(shapes))


def described(network: Network) -> tuple[Inline, ...]:
    """What the picture shows, in words, for those who cannot see it."""

    def names(kind: Kind, otherwise: str) -> tuple[Inline, ...]:
        signs = [node.sign for node in network.nodes if node.kind is kind]
        return tuple(piece for sign in signs for piece in (", ", sign))[1:] or (otherwise,)

    return (
        f"One step of {network.title} as a graph: states ",
        *names(Kind.PREVIOUS, "none"),
        " come in at the left, ",
        *names(Kind.INPUT, "nothing"),
        " from below; ",
        *names(Kind.NEXT, "none"),
        " leave at the right, ",
        *names(Kind.OUTPUT, "nothing"),
        " at the top.",
    )


def _node(placed: Placed) -> Iterator[Shape]:
    node, x, y = placed.node, placed.x, placed.y
    role = _ROLES.get(node.kind, Role.END)
    if node.kind is Kind.JUNCTION:
        yield Box((x, y), placed.width, placed.height, Role.FORK)
        return
    if node.kind in ROUND:
        yield Disc((x, y), placed.width / 2, role)
    else:
        corner = CORNER if node.kind is Kind.GATE else placed.height / 2
        yield Box((x, y), placed.width, placed.height, role, corner)
    yield Label(node.sign, (x, y + (_AXIS if node.kind in ROUND else _BASE)), Role.SIGN)


def _arrow(wire: Wire, target: Placed) -> Iterator[Shape]:
    """The head of a line, none at a junction."""
    if target.node.kind is Kind.JUNCTION:
        return
    (a, b), (x, y) = wire.points[-2:]
    if target.node.kind is Kind.OUTPUT:
        y += STALK
    length = hypot(x - a, y - b) or 1.0
    dx, dy = (x - a) / length, (y - b) / length
    u, v = x - HEAD * dx, y - HEAD * dy
    yield Polygon(((x, y), (u - 3 * dy, v + 3 * dx), (u + 3 * dy, v - 3 * dx)), Role.HEAD)
