"""Drawings as self-contained SVG: no script, no font, no address; lines and letters have the colour of the page's."""

from __future__ import annotations

from html import escape

from lstmgen.derivation.document import Document
from lstmgen.derivation.drawing import CURVES, Anchor, Box, Disc, Drawing, Label, Line, Point, Polygon, Role, Shape
from lstmgen.derivation.format import Format
from lstmgen.derivation.formats.colours import COLOURS, INK
from lstmgen.derivation.formats.figures import figures
from lstmgen.derivation.formats.plain import running
from lstmgen.derivation.formula import Accent
from lstmgen.derivation.lettering import RISE, SIZES, SMALL, Accented, Run, accents, runs, width

_FONT = '"Latin Modern Math", "STIX Two Text", Cambria, Georgia, serif'
_NODES = " ".join(
    f".lg-drawing .{role} {{ fill: {COLOURS[role]}; stroke: currentColor; stroke-width: 1.1 }}"
    for role in (Role.GATE, Role.OPERATION, Role.END)
)
_CURVES = "\n".join(
    f".lg-drawing path.{role} {{ stroke: {COLOURS[role]} }} .lg-drawing circle.{role} {{ fill: {COLOURS[role]} }}"
    for role in (*CURVES, Role.REFERENCE)
)
_SIZES = " ".join(f".lg-drawing .{role} {{ font-size: {size}em }}" for role, size in SIZES.items())
STYLE = f"""
.lg-drawing {{ color: inherit; font-family: {_FONT} }}
.lg-drawing path {{ fill: none; stroke-linejoin: round }} .lg-drawing .it {{ font-style: italic }}
.lg-drawing text, .lg-drawing .head, .lg-drawing .fork {{ fill: currentColor }}
.lg-drawing .wire {{ stroke: currentColor; stroke-width: 1.4 }}
{_NODES}
.lg-drawing .sign {{ fill: {INK} }} {_SIZES}
.lg-drawing path.accent {{ stroke: currentColor; stroke-width: 1; stroke-linecap: round }}
.lg-drawing .grid {{ stroke: {COLOURS[Role.GRID]}; stroke-width: 1; stroke-opacity: .35 }}
.lg-drawing .title, .lg-drawing .axis, .lg-drawing [class|="curve"], .lg-drawing .reference {{
  font-family: system-ui, sans-serif }}
.lg-drawing .title {{ font-weight: 600 }}
.lg-drawing path[class|="curve"], .lg-drawing path.reference {{ stroke-width: 1.8 }}
.lg-drawing path.reference {{ stroke-dasharray: 5 3 }}
{_CURVES}
"""
ALONE = f"""
.lg-drawing {{ color: {INK}; background: #ffffff }}
@media (prefers-color-scheme: dark) {{ .lg-drawing {{ color: #dfe2e6; background: #16181c }} }}
"""
"""What a drawing has from its page where it stands within one."""
_ANCHORS = {Anchor.START: "", Anchor.MIDDLE: ' text-anchor="middle"', Anchor.END: ' text-anchor="end"'}


def render(document: Document, fragment: bool = False) -> str:
    """The figures of ``document``, each as an element: a fragment stands within a page and has its paper and ink."""
    style = STYLE if fragment else STYLE + ALONE
    return "\n".join(element(each.drawing, running(each.alternative), style) for each in figures(document))


def element(drawing: Drawing, alternative: str, style: str = STYLE) -> str:
    """The drawing as an element of a page; ``alternative`` says in words what it shows."""
    width, height = number(drawing.width), number(drawing.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lg-drawing" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" style="max-width: 100%; height: auto; font-size: {number(drawing.letters)}px" role="img" '
        f'aria-label="{escape(alternative)}">',
        f"<style>{style}</style>",
        *(_shape(shape, drawing.letters) for shape in drawing.shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _shape(shape: Shape, letters: float) -> str:
    name = f'class="{shape.role}"'
    match shape:
        case Line():
            return f'<path {name} d="{_path(shape)}"/>'
        case Disc((x, y), radius):
            return f'<circle {name} cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"/>'
        case Box((x, y), width, height, _, corner):
            return (
                f'<rect {name} x="{number(x - width / 2)}" y="{number(y - height / 2)}" width="{number(width)}" '
                f'height="{number(height)}" rx="{number(corner)}"/>'
            )
        case Polygon(points):
            return f'<polygon {name} points="{" ".join(f"{number(x)},{number(y)}" for x, y in points)}"/>'
        case Label(content, (x, y)):
            place = f'x="{number(x)}" y="{number(y)}"'
            if shape.rising:
                place = f'transform="translate({number(x)} {number(y)}) rotate(-90)"'
            size = letters * SIZES.get(shape.role, 1.0)
            written = f"<text {name} {place}{_ANCHORS[shape.anchor]}>{_lettering(runs(content), size)}</text>"
            over = "" if shape.rising else "".join(_accent(shape, each, size) for each in accents(content, size))
            return f"<g>{written}{over}</g>" if over else written


def _accent(label: Label, accented: Accented, size: float) -> str:
    """An accent drawn clear above its letter."""
    before = {Anchor.START: 0.0, Anchor.MIDDLE: 0.5, Anchor.END: 1.0}[label.anchor] * width(label.content, size)
    x, y = label.at[0] - before + accented.x, label.at[1] + accented.y
    half, high = 0.22 * size * accented.size, 0.1 * size * accented.size
    a, b, c = (f"{number(x + k * half)} {number(y - high)}" for k in (-1, 0, 1))
    match accented.accent:
        case Accent.BAR:
            path = f"M{a} L{c}"
        case Accent.HAT:
            path = f"M{a} L{number(x)} {number(y - 2.4 * high)} L{c}"
        case _:
            path = f"M{a} Q{number(x - half / 2)} {number(y - 2.6 * high)} {b} T{c}"
    dark = f' style="stroke: {INK}"' if label.role is Role.SIGN else ""
    return f'<path class="accent"{dark} d="{path}"/>'


def _lettering(letters: tuple[Run, ...], size: float) -> str:
    """Runs of text as ``tspan`` elements, raised and lowered."""
    pieces, level = [], 0
    for run in letters:
        shift = (level - run.level) * size * RISE
        level = run.level
        place = f' dy="{number(shift)}"' if shift else ""
        form = ' class="it"' if run.italic else ""
        height = f' font-size="{SMALL:.0%}"' if run.level else ""
        pieces.append(f"<tspan{place}{form}{height}>{escape(run.text)}</tspan>")
    return "".join(pieces)


def _path(line: Line) -> str:
    if not line.radius:
        return "M" + " L".join(map(_point, line.points))
    bends = [f"L{_point(bend.start)} Q{_point(bend.corner)} {_point(bend.end)}" for bend in line.bends]
    return " ".join([f"M{_point(line.points[0])}", *bends, f"L{_point(line.points[-1])}"])


def _point(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"


def number(value: float) -> str:
    """A number of at most one decimal, the same on every machine."""
    rounded = f"{value:.1f}".removesuffix(".0")
    return "0" if rounded == "-0" else rounded


svg = Format(render, only="picture")
