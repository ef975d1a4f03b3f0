"""A layout as self-contained SVG: no script, no font, no address; colours follow the page's light or dark."""

from __future__ import annotations

from html import escape
from math import hypot

from lstmgen.derivation.formula import Formula
from lstmgen.derivation.picture.layout import LETTERS, Layout, Placed, Point, Wire
from lstmgen.derivation.picture.lettering import Run, plain, runs
from lstmgen.derivation.picture.network import Kind

STYLE = """
.lg-picture { --gate: #fbe3a4; --point: #f6c9c4; --ends: #cfe3f5; --paper: #ffffff;
  color: inherit; font: 15px "Latin Modern Math", "STIX Two Text", Cambria, Georgia, serif }
.lg-picture .wire { fill: none; stroke: currentColor; stroke-width: 1.4; stroke-linejoin: round }
.lg-picture .fork, .lg-picture .junction { fill: currentColor }
.lg-picture .box { stroke: currentColor; stroke-width: 1.1 }
.lg-picture .gate { fill: var(--gate) } .lg-picture .function { fill: var(--point) }
.lg-picture .product, .lg-picture .sum { fill: var(--point) } .lg-picture .ends { fill: var(--ends) }
.lg-picture text { fill: currentColor; text-anchor: middle } .lg-picture .it { font-style: italic }
.lg-picture .name { font-size: 13px; text-anchor: start }
.lg-picture .small { font-size: 12px; paint-order: stroke; stroke: var(--paper); stroke-width: 3px }
@media (prefers-color-scheme: dark) {
  .lg-picture { --gate: #6b5514; --point: #7a3a35; --ends: #274a6b; --paper: #16181c } }
"""


def svg(layout: Layout) -> str:
    """The picture of a network."""
    width, height = number(layout.width), number(layout.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lg-picture" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="max-width: 100%; height: auto" role="img" '
        f'aria-label="{escape(described(layout))}">',
        f"<style>{STYLE}</style>",
        *(f'<path class="wire" d="{_path(wire.points)}"/>' for wire in layout.wires),
        *(f'<circle class="fork" cx="{number(x)}" cy="{number(y)}" r="2.6"/>' for x, y in layout.forks),
        *(arrow for wire in layout.wires for arrow in _arrow(layout, wire)),
        *(line for placed in layout.nodes for line in _node(placed)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def described(layout: Layout) -> str:
    """What the picture shows, in words, for those who cannot see it."""
    names = {kind: [plain(n.sign) for n in layout.network.nodes if n.kind is kind] for kind in Kind}
    return (
        f"One step of {layout.network.title} as a graph: states {', '.join(names[Kind.PREVIOUS]) or 'none'} come in at "
        f"the left, {', '.join(names[Kind.INPUT]) or 'nothing'} from below; {', '.join(names[Kind.NEXT]) or 'none'} "
        f"leave at the right, {', '.join(names[Kind.OUTPUT])} at the top."
    )


def lettering(letters: tuple[Run, ...], size: float = LETTERS) -> str:
    """Runs of text as ``tspan`` elements, raised and lowered."""
    pieces, level = [], 0
    small = number(size * 0.7)
    for run in letters:
        shift = (level - run.level) * size * 0.32
        level = run.level
        place = f' dy="{number(shift)}"' if shift else ""
        form = ' class="it"' if run.italic else ""
        height = f' font-size="{small}"' if run.level else ""
        pieces.append(f"<tspan{place}{form}{height}>{escape(run.text)}</tspan>")
    return "".join(pieces)


def _text(formula: Formula | str, x: float, y: float, kind: str = "", size: float = LETTERS) -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{number(x)}" y="{number(y)}">{lettering(runs(formula), size)}</text>'


def _node(placed: Placed) -> list[str]:
    node, x, y = placed.node, placed.x, placed.y
    if node.kind is Kind.JUNCTION:
        return [f'<circle class="junction" cx="{number(x)}" cy="{number(y)}" r="2.6"/>']
    if node.kind in (Kind.PRODUCT, Kind.SUM):
        radius = number(placed.width / 2)
        shape = f'<circle class="box {node.kind}" cx="{number(x)}" cy="{number(y)}" r="{radius}"/>'
    else:
        corner = {Kind.GATE: 3.0}.get(node.kind, placed.height / 2)
        kind = node.kind if node.kind in (Kind.GATE, Kind.FUNCTION) else "ends"
        shape = (
            f'<rect class="box {kind}" x="{number(x - placed.width / 2)}" y="{number(y - placed.height / 2)}" '
            f'width="{number(placed.width)}" height="{number(placed.height)}" rx="{number(corner)}"/>'
        )
    lines = [shape, _text(node.sign, x, y + 5)]
    if node.name is not None:
        lines.append(_text(node.name, x + placed.width / 2 + 4, y - 6, "name", 13))
    return lines


def _arrow(layout: Layout, wire: Wire) -> list[str]:
    """The head of a line, none at a junction, and the mark beside it."""
    if layout.network.node(wire.target).kind is Kind.JUNCTION:
        return []
    (a, b), (x, y) = wire.points[-2:]
    if layout.network.node(wire.target).kind is Kind.OUTPUT:
        y += 15
    length = hypot(x - a, y - b) or 1.0
    dx, dy = (x - a) / length, (y - b) / length
    corners = [(x, y), (x - 7 * dx - 3 * dy, y - 7 * dy + 3 * dx), (x - 7 * dx + 3 * dy, y - 7 * dy - 3 * dx)]
    points = " ".join(f"{number(u)},{number(v)}" for u, v in corners)
    lines = [f'<polygon class="fork" points="{points}"/>']
    if wire.mark:
        lines.append(_text(wire.mark, x - 13 * dx + 9 * abs(dy), y - 13 * dy - 5 * abs(dx) + 4 * abs(dy), "small", 11))
    return lines


def _path(points: tuple[Point, ...], radius: float = 6.0) -> str:
    """A line with rounded bends."""
    text = f"M{number(points[0][0])} {number(points[0][1])}"
    for before, bend, after in zip(points, points[1:], points[2:], strict=False):
        near = min(radius, _distance(before, bend) / 2, _distance(bend, after) / 2)
        (ax, ay), (bx, by) = _towards(bend, before, near), _towards(bend, after, near)
        text += f" L{number(ax)} {number(ay)} Q{number(bend[0])} {number(bend[1])} {number(bx)} {number(by)}"
    return text + f" L{number(points[-1][0])} {number(points[-1][1])}"


def _distance(a: Point, b: Point) -> float:
    return hypot(b[0] - a[0], b[1] - a[1])


def _towards(start: Point, goal: Point, far: float) -> Point:
    length = _distance(start, goal) or 1.0
    return start[0] + (goal[0] - start[0]) * far / length, start[1] + (goal[1] - start[1]) * far / length


def number(value: float) -> str:
    """A number of at most one decimal, the same on every machine."""
    rounded = f"{value:.1f}".removesuffix(".0")
    return "0" if rounded == "-0" else rounded
