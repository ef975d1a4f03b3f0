"""A network as a table, for formats that can draw nothing: what every node makes, and from what."""

from __future__ import annotations

from lstmgen.derivation.document import Inline, Table
from lstmgen.derivation.network import Kind, Network

Pieces = tuple[Inline, ...]


def connections(network: Network) -> Table:
    """A row for every node that reads others. One without a name is called by a number in brackets."""
    names = _names(network)
    rows = []
    for node in network.nodes:
        ends = node.kind in (Kind.NEXT, Kind.OUTPUT)
        read = _read(network, node.key, names)
        # A state that leaves under the name that it has already needs no row.
        if not read or node.kind is Kind.JUNCTION or (ends and read == names[node.key]):
            continue
        rows.append((names[node.key], ("",) if ends else (node.sign,), read))
    return Table((("value",), ("is",), ("of",)), tuple(rows))


def _names(network: Network) -> dict[str, Pieces]:
    names: dict[str, Pieces] = {}
    numbers = 0
    for node in network.nodes:
        if node.name is not None:
            names[node.key] = (node.name,)
        elif node.kind in (Kind.PREVIOUS, Kind.INPUT, Kind.NEXT, Kind.OUTPUT):
            names[node.key] = (node.sign,)
        elif node.kind is not Kind.JUNCTION:
            numbers += 1
            names[node.key] = (f"({numbers})",)
    return names


def _read(network: Network, key: str, names: dict[str, Pieces]) -> Pieces:
    """What a node reads; what it reads through a junction, it reads itself."""
    found: list[Inline] = []
    for mark, source in _sources(network, key):
        spaced = f"{mark} " if mark.isalpha() else mark
        found += [", "] * bool(found) + [spaced] * bool(mark) + list(names[source])
    return tuple(found)


def _sources(network: Network, key: str) -> list[tuple[str, str]]:
    """The nodes that a node reads, after the marks that they enter with."""
    found = []
    for edge in network.edges:
        if edge.target == key:
            through = network.node(edge.source).kind is Kind.JUNCTION
            inner = _sources(network, edge.source) if through else [("", edge.source)]
            found += [(edge.mark or mark, source) for mark, source in inner]
    return found
