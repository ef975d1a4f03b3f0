"""A network as text that other tools draw: Graphviz DOT and Mermaid."""

from __future__ import annotations

from lstmgen.derivation.formats.plain import plain
from lstmgen.derivation.network import Kind, Network, Node

_SHAPES = {
    Kind.GATE: "box",
    Kind.PRODUCT: "circle",
    Kind.SUM: "circle",
    Kind.JUNCTION: "point",
    Kind.FUNCTION: "ellipse",
}
_MERMAID = {
    Kind.GATE: ('["', '"]'),
    Kind.PRODUCT: ('(("', '"))'),
    Kind.SUM: ('(("', '"))'),
    Kind.JUNCTION: ('(("', '"))'),
    Kind.FUNCTION: ('(["', '"])'),
}


def dot(network: Network) -> str:
    """The network for Graphviz."""
    names = _identifiers(network)
    lines = [f'digraph "{_quoted(network.title)}" {{', "  rankdir=LR;", '  node [fontname="serif"];']
    for node in network.nodes:
        shape = _SHAPES.get(node.kind, "plaintext")
        lines.append(f'  {names[node.key]} [shape={shape}, label="{_quoted(_label(node))}"];')
    for kind, rank in ((Kind.PREVIOUS, "min"), (Kind.NEXT, "max")):
        ends = [names[node.key] for node in network.nodes if node.kind is kind]
        if ends:
            lines.append(f"  {{ rank={rank}; {'; '.join(ends)} }}")
    for edge in network.edges:
        mark = f' [headlabel="{edge.mark}"]' if edge.mark else ""
        lines.append(f"  {names[edge.source]} -> {names[edge.target]}{mark};")
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(network: Network) -> str:
    """The network for Mermaid, which GitHub draws within Markdown."""
    names = _identifiers(network)
    lines = ["flowchart LR"]
    for node in network.nodes:
        opening, closing = _MERMAID.get(node.kind, ('("', '")'))
        lines.append(f"  {names[node.key]}{opening}{_entities(_label(node)) or ' '}{closing}")
    for edge in network.edges:
        mark = f'|"{edge.mark}"|' if edge.mark else ""
        lines.append(f"  {names[edge.source]} -->{mark} {names[edge.target]}")
    return "\n".join(lines) + "\n"


def _identifiers(network: Network) -> dict[str, str]:
    """Names that neither language takes for a word of its own."""
    return {node.key: f"n{index}" for index, node in enumerate(network.nodes)}


def _label(node: Node) -> str:
    sign = node.sign if isinstance(node.sign, str) else plain(node.sign)
    return sign if node.name is None else f"{plain(node.name)} = {sign}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _entities(text: str) -> str:
    """Text with what Mermaid would read as its own, or as HTML, written as entities."""
    return "".join(each if each.isalnum() or each in " _=^,()+−×·" else f"#{ord(each)};" for each in text)
