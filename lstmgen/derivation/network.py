"""A step of a cell as a network: what a picture of it shows, before anything has a place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lstmgen.derivation.formula import Formula


class Kind(StrEnum):
    """What a node is; it decides the node's shape."""

    PREVIOUS = "previous"  # a state that comes in from the step before
    NEXT = "next"  # a state that goes out to the step after
    INPUT = "input"
    OUTPUT = "output"
    GATE = "gate"  # an affine map, with its activation if it has one
    FUNCTION = "function"  # applied entry by entry, or to a whole vector
    PRODUCT = "product"
    SUM = "sum"
    JUNCTION = "junction"  # several values read together


@dataclass(frozen=True)
class Node:
    """``sign`` is what stands in the node, ``name`` the quantity that it yields, None where it has no name."""

    key: str
    kind: Kind
    sign: Formula | str
    name: Formula | None = None


@dataclass(frozen=True)
class Edge:
    """``mark`` stands at its end where a value enters negative or as a divisor."""

    source: str
    target: str
    mark: str = ""


@dataclass(frozen=True)
class Network:
    """Nodes in the order of their equations."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def node(self, key: str) -> Node:
        """The node of that key."""
        return next(node for node in self.nodes if node.key == key)
