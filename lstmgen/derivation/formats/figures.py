"""The figures of a document, for formats that print these alone, and what a network's nodes are called."""

from __future__ import annotations

from lstmgen.derivation.document import Document, Figure
from lstmgen.derivation.formats.links import blocks_of
from lstmgen.derivation.formats.plain import running
from lstmgen.derivation.network import Network, Node


def figures(document: Document) -> tuple[Figure, ...]:
    """All figures in order."""
    return tuple(block for block in blocks_of(document) if isinstance(block, Figure))


def networks(document: Document) -> tuple[Network, ...]:
    """What the figures show, of those that show a network."""
    return tuple(figure.network for figure in figures(document) if figure.network is not None)


def label(node: Node) -> str:
    """What a node yields and what stands in it, in a line."""
    return running((node.sign,) if node.name is None else (node.name, " = ", node.sign))


def identifiers(network: Network) -> dict[str, str]:
    """Names of nodes by their keys, which no language takes for a word of its own."""
    return {node.key: f"n{index}" for index, node in enumerate(network.nodes)}
