"""The picture of a cell as a graph for Graphviz, which gives it places."""

from __future__ import annotations

from lstmgen.derivation.document import Document
from lstmgen.derivation.drawing import Role
from lstmgen.derivation.format import Format
from lstmgen.derivation.formats.colours import COLOURS
from lstmgen.derivation.formats.figures import identifiers, label, networks
from lstmgen.derivation.network import Kind, Network

_FILLED = "style=filled, fillcolor="
_ROUND = f'shape=circle, margin=0, width=0.3, {_FILLED}"{COLOURS[Role.OPERATION]}"'
_ENDS = f'shape=box, style="filled,rounded", fillcolor="{COLOURS[Role.END]}"'
_LOOKS = {
    Kind.GATE: f'shape=box, {_FILLED}"{COLOURS[Role.GATE]}"',
    Kind.FUNCTION: f'shape=ellipse, {_FILLED}"{COLOURS[Role.OPERATION]}"',
    Kind.PRODUCT: _ROUND,
    Kind.SUM: _ROUND,
    Kind.JUNCTION: "shape=point, height=0.07",
}


def render(document: Document, fragment: bool = False) -> str:
    """The networks of ``document`` as graphs; a fragment is the same."""
    return "\n".join(map(graph, networks(document)))


def graph(network: Network) -> str:
    """A network in DOT: states from left to right, the first rank before all others, the last behind them."""
    names = identifiers(network)
    lines = [f"digraph {_quoted(network.title)} {{", "  rankdir=LR;", '  node [fontname="serif", height=0.3];']
    lines += [
        f"  {names[node.key]} [label={_quoted(label(node))}, {_LOOKS.get(node.kind, _ENDS)}];" for node in network.nodes
    ]
    for kind, rank in ((Kind.PREVIOUS, "min"), (Kind.NEXT, "max")):
        ends = [names[node.key] for node in network.nodes if node.kind is kind]
        lines += [f"  {{ rank={rank}; {'; '.join(ends)} }}"] if ends else []
    for edge in network.edges:
        joins = network.node(edge.target).kind is Kind.JUNCTION
        options = " [arrowhead=none]" if joins else f" [headlabel={_quoted(edge.mark)}]" if edge.mark else ""
        lines.append(f"  {names[edge.source]} -> {names[edge.target]}{options};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    spelled = {"\\": "\\\\", '"': '\\"', "&": "&amp;"}
    return f'"{"".join(spelled.get(each, each) for each in " ".join(text.splitlines()))}"'


dot = Format(render, only="picture")
