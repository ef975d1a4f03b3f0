"""The picture of a cell as a flowchart for Mermaid, which GitHub and Jupyter draw within Markdown."""

from __future__ import annotations

from lstmgen.derivation.document import Document
from lstmgen.derivation.drawing import Role
from lstmgen.derivation.format import Format
from lstmgen.derivation.formats.colours import COLOURS, INK
from lstmgen.derivation.formats.figures import identifiers, label, networks
from lstmgen.derivation.network import Kind, Network

_SHAPES = {
    Kind.GATE: ('["', '"]'),
    Kind.FUNCTION: ('(["', '"])'),
    Kind.PRODUCT: ('(("', '"))'),
    Kind.SUM: ('(("', '"))'),
    Kind.JUNCTION: ('(("', '"))'),
}
_CLASSES = {Kind.GATE: Role.GATE} | dict.fromkeys((Kind.FUNCTION, Kind.PRODUCT, Kind.SUM), Role.OPERATION)
_END = ('("', '")')


def render(document: Document, fragment: bool = False) -> str:
    """The networks of ``document`` as flowcharts; a fragment is the same."""
    return "\n".join(map(chart, networks(document)))


def chart(network: Network) -> str:
    """A network as a flowchart from left to right."""
    names = identifiers(network)
    lines = ["flowchart LR"]
    for role in (Role.GATE, Role.OPERATION, Role.END):
        lines.append(f"  classDef {_named(role)} fill:{COLOURS[role]},stroke:{INK},color:{INK}")
    for node in network.nodes:
        opening, closing = _SHAPES.get(node.kind, _END)
        form = "" if node.kind is Kind.JUNCTION else f":::{_named(_CLASSES.get(node.kind, Role.END))}"
        lines.append(f"  {names[node.key]}{opening}{_entities(label(node)) or ' '}{closing}{form}")
    for edge in network.edges:
        arrow = "---" if network.node(edge.target).kind is Kind.JUNCTION else "-->"
        mark = f'|"{_entities(edge.mark)}"|' if edge.mark else ""
        lines.append(f"  {names[edge.source]} {arrow}{mark} {names[edge.target]}")
    return "\n".join(lines) + "\n"


def _named(role: Role) -> str:
    """The name of a role's class: some of the roles are words of Mermaid."""
    return f"lg_{role}"


def _entities(text: str) -> str:
    """Text with what Mermaid would read as its own, as Markdown, or as HTML, written as entities."""
    return "".join(each if each.isalnum() or each in " =,()×·₋⁻" else f"#{ord(each)};" for each in text)


mermaid = Format(render, only="picture")
