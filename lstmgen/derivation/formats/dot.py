"""The picture of a cell as a graph for Graphviz, which gives it places."""

from __future__ import annotations

from html import escape
from itertools import groupby

from lstmgen.derivation.document import Document
from lstmgen.derivation.drawing import Role
from lstmgen.derivation.format import Format
from lstmgen.derivation.formats.colours import COLOURS
from lstmgen.derivation.formats.figures import identifiers, networks
from lstmgen.derivation.formula import Formula
from lstmgen.derivation.lettering import Run, runs
from lstmgen.derivation.letters import ACCENTS
from lstmgen.derivation.network import Kind, Network, Node
from lstmgen.derivation.picture.ranks import lanes

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
    lines += [f"  {names[node.key]} [{_labels(node)}, {_LOOKS.get(node.kind, _ENDS)}];" for node in network.nodes]
    for at, rank in ((0, "min"), (-1, "max")):
        ends = [names[lane[at]] for lane in lanes(network)]
        order = f"{' -> '.join(ends)} [style=invis]" if len(ends) > 1 else "".join(ends)
        lines += [f"  {{ rank={rank}; {order} }}"] if ends else []
    for edge in network.edges:
        joins = network.node(edge.target).kind is Kind.JUNCTION
        options = " [arrowhead=none]" if joins else f" [headlabel={_quoted(edge.mark)}]" if edge.mark else ""
        lines.append(f"  {names[edge.source]} -> {names[edge.target]}{options};")
    return "\n".join([*lines, "}"]) + "\n"


def _labels(node: Node) -> str:
    """What stands in a node, after what it yields; beside a circle, which would grow with it."""
    if node.name is None:
        return f"label={_lettered(node.sign)}"
    if node.kind in (Kind.PRODUCT, Kind.SUM):
        return f"label={_lettered(node.sign)}, xlabel={_lettered(node.name)}"
    return f"label={_lettered(node.name, node.sign)}"


def _lettered(*parts: Formula | str) -> str:
    """Parts of an equation as a label of raised and lowered letters; Graphviz takes an empty one only as text."""
    if parts == ("",):
        return '""'
    return f"<{' = '.join(''.join(_levels(part)) for part in parts)}>"


def _levels(part: Formula | str) -> list[str]:
    signs = {0: ("", ""), 1: ("<SUP>", "</SUP>"), -1: ("<SUB>", "</SUB>")}
    return [
        f"{signs[level][0]}{''.join(map(_run, found))}{signs[level][1]}"
        for level, found in groupby(runs(part), key=lambda run: run.level)
    ]


def _run(run: Run) -> str:
    text = run.text[:1] + ACCENTS.get(run.accent, "") + run.text[1:]
    escaped = escape(" ".join(text.split("\n")))
    return f"<I>{escaped}</I>" if run.italic else escaped


def _quoted(text: str) -> str:
    spelled = {"\\": "\\\\", '"': '\\"', "&": "&amp;"}
    return f'"{"".join(spelled.get(each, each) for each in " ".join(text.splitlines()))}"'


dot = Format(render, only="picture")
